//! User data: what `nft` keeps beside objects so that it can print them (libnftnl's `udata.h`).
//!
//! A sequence of (type: u8, length: u8, value). The kernel stores it and does not look inside.

/// `NFT_USERDATA_MAXLEN`: bytes of user data an object may have.
const MAX: usize = 256;
/// The comment of tables, chains, rules and elements is type 0 in each of their name spaces.
const COMMENT: u8 = 0;
/// `NFTNL_UDATA_COMMENT_MAXLEN`: bytes of a comment with its NUL.
const COMMENT_MAX: usize = 128;

const SET_KEY_BYTE_ORDER: u8 = 0;
const SET_DATA_BYTE_ORDER: u8 = 1;
const SET_COMMENT: u8 = 7;

/// User data with a comment, `None` for an empty one. A long comment is cut.
pub(crate) fn comment(text: &str) -> Option<Vec<u8>> {
    (!text.is_empty()).then(|| {
        let mut bytes = Vec::new();
        push_text(&mut bytes, COMMENT, text);
        bytes
    })
}

/// The comment in user data, empty if there is none.
pub(crate) fn read_comment(bytes: &[u8]) -> String {
    read_text(bytes, COMMENT)
}

/// The comment in user data of a set, empty if there is none.
pub(crate) fn read_set_comment(bytes: &[u8]) -> String {
    read_text(bytes, SET_COMMENT)
}

fn read_text(bytes: &[u8], wanted: u8) -> String {
    let mut rest = bytes;
    while let [kind, length, tail @ ..] = rest {
        let Some((value, tail)) = tail.split_at_checked(usize::from(*length)) else { break };
        if *kind == wanted {
            return String::from_utf8_lossy(value).trim_end_matches('\0').to_owned();
        }
        rest = tail;
    }
    String::new()
}

/// User data of a set: `nft`'s byte-order numbers of key and data, and a comment.
pub(crate) fn set(key_order: u32, data_order: Option<u32>, text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    push(&mut bytes, SET_KEY_BYTE_ORDER, &key_order.to_ne_bytes());
    if let Some(order) = data_order {
        push(&mut bytes, SET_DATA_BYTE_ORDER, &order.to_ne_bytes());
    }
    if !text.is_empty() {
        push_text(&mut bytes, SET_COMMENT, text);
    }
    bytes
}

fn push(bytes: &mut Vec<u8>, kind: u8, value: &[u8]) {
    bytes.push(kind);
    bytes.push(value.len() as u8);
    bytes.extend_from_slice(value);
    debug_assert!(bytes.len() <= MAX);
}

fn push_text(bytes: &mut Vec<u8>, kind: u8, text: &str) {
    let cut = text.floor_char_boundary(COMMENT_MAX - 1);
    let mut value = text.as_bytes()[..cut].to_vec();
    value.push(0);
    push(bytes, kind, &value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_stored_as_nft_stores_them() {
        assert_eq!(comment("svc"), Some(b"\x00\x04svc\x00".to_vec()));
        assert_eq!(comment(""), None);
        assert_eq!(read_comment(b"\x01\x01x\x00\x04svc\x00"), "svc");
        assert_eq!(read_comment(b"\x00\x09cut"), "");
    }

    #[test]
    fn a_long_comment_is_cut_at_a_character() {
        let bytes = comment(&"ä".repeat(200)).unwrap();
        assert_eq!(bytes[1], 127, "63 characters of two bytes, and the NUL");
        assert_eq!(bytes.len(), 2 + 127);
    }
}
