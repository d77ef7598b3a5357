//! Damaged bodies of every kind: an error or an object, never a panic.

use super::round_trip::sample;
use super::*;

/// A small generator of reproducible numbers (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

#[test]
fn truncated_and_flipped_bodies_never_panic() {
    let schema = Schema::builtin();
    let mut random = Random(0x5eed_cafe);
    for kind in schema.kinds() {
        let object = sample(schema, kind.message, 3);
        let json = object.to_string().into_bytes();
        let protobuf = encode_protobuf(schema, kind, &object);
        for (media, body) in [(Media::Json, &json), (Media::Yaml, &json), (Media::Protobuf, &protobuf)] {
            let rounds = if media == Media::Yaml { 5 } else { 60 };
            for _ in 0..rounds {
                let mut damaged = body.clone();
                damaged.truncate(random.below(body.len() + 1));
                for _ in 0..random.below(4) {
                    let at = random.below(damaged.len());
                    if let Some(byte) = damaged.get_mut(at) {
                        *byte ^= 1 << random.below(8);
                    }
                }
                let decoded = decode(schema, kind, media, &damaged, FieldValidation::Warn);
                if let Err(status) = decoded {
                    assert_eq!(status.code, 400);
                }
            }
        }
    }
}
