//! Names between their text and their bytes (RFC 1035, sections 3.1, 4.1.4 and 5.1).

/// How many compression pointers a name may have; more are a loop.
const MOST_POINTERS: usize = 64;

/// The bytes of a name. Labels that are too long are cut at 63 bytes; the name itself may be longer than the
/// allowed 255, since a question may be wrong on purpose.
pub fn encode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() + 2);
    let mut label = Vec::new();
    let mut end = |label: &mut Vec<u8>| {
        if !label.is_empty() {
            label.truncate(63);
            bytes.push(label.len() as u8);
            bytes.append(label);
        }
    };
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'.' => end(&mut label),
            b'\\' => {
                let number = rest.get(..3).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
                match number {
                    Some(value) => {
                        label.push(value);
                        rest = &rest[3..];
                    }
                    None if !rest.is_empty() => {
                        label.push(rest[0]);
                        rest = &rest[1..];
                    }
                    None => {}
                }
            }
            byte => label.push(byte),
        }
    }
    end(&mut label);
    bytes.push(0);
    bytes
}

/// The text of the name at this place of a message, which is moved behind it. It ends with a dot and shows unusual
/// bytes by number. `None` when the message ends before the name does.
pub fn decode(message: &[u8], at: &mut usize) -> Option<String> {
    let mut text = String::new();
    let (mut place, mut pointers) = (*at, 0);
    loop {
        let length = usize::from(*message.get(place)?);
        match length {
            0 => {
                if pointers == 0 {
                    *at = place + 1;
                }
                if text.is_empty() {
                    text.push('.');
                }
                return Some(text);
            }
            1..=63 => {
                for &byte in message.get(place + 1..place + 1 + length)? {
                    match byte {
                        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'*' | b'/' => {
                            text.push(char::from(byte));
                        }
                        byte => text.push_str(&format!("\\{byte:03}")),
                    }
                }
                text.push('.');
                place += 1 + length;
            }
            _ => {
                if pointers == 0 {
                    *at = place + 2;
                }
                pointers += 1;
                if length < 0xc0 || pointers > MOST_POINTERS {
                    return None;
                }
                place = (length & 0x3f) << 8 | usize::from(*message.get(place + 1)?);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_case_and_its_odd_bytes() {
        let bytes = encode("Web\\046x.a_b.\\200.");
        assert_eq!(bytes, b"\x05Web.x\x03a_b\x01\xc8\0");
        let mut at = 0;
        assert_eq!(decode(&bytes, &mut at).as_deref(), Some("Web\\046x.a_b.\\200."));
        assert_eq!(at, bytes.len());
        assert_eq!(decode(&encode("."), &mut 0).as_deref(), Some("."));
    }

    #[test]
    fn a_pointer_is_followed_and_a_loop_is_not() {
        let message = b"\x01a\0\x01b\xc0\0\x01c";
        let mut at = 3;
        assert_eq!(decode(message, &mut at).as_deref(), Some("b.a."));
        assert_eq!(at, 7);
        assert_eq!(decode(b"\xc0\0", &mut 0), None);
        assert_eq!(decode(b"\x05ab", &mut 0), None);
    }
}
