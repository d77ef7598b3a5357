//! Byte for byte against Go's encoder: `golden.txt` has the JSON and, on the next line, the protobuf in
//! hexadecimal that `k8s.io/apimachinery` wrote for objects made for this test.

use super::*;

const GOLDEN: &str = include_str!("golden.txt");

fn pairs() -> impl Iterator<Item = (Value, Vec<u8>)> {
    let lines: Vec<&str> = GOLDEN.lines().collect();
    let pairs: Vec<_> = lines
        .chunks_exact(2)
        .map(|pair| {
            let hex = pair[1].as_bytes().chunks_exact(2);
            let bytes = hex.map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap());
            (serde_json::from_str(pair[0]).unwrap(), bytes.collect())
        })
        .collect();
    pairs.into_iter()
}

fn kind_of(object: &Value) -> &'static Kind {
    let api_version = object["apiVersion"].as_str().unwrap();
    let (group, _) = api_version.split_once('/').unwrap_or(("", api_version));
    kind(group, object["kind"].as_str().unwrap())
}

#[test]
fn go_bytes_decode_to_gos_json() {
    let schema = Schema::builtin();
    for (object, bytes) in pairs() {
        let kind = kind_of(&object);
        let from_json = conform(schema, kind, object, FieldValidation::Strict).unwrap().object;
        let from_bytes = decode(schema, kind, Media::Protobuf, &bytes, FieldValidation::Strict).unwrap();
        assert_eq!(from_bytes.object, from_json);
    }
}

#[test]
fn encoding_gives_gos_bytes() {
    let schema = Schema::builtin();
    for (object, bytes) in pairs() {
        let kind = kind_of(&object);
        let object = conform(schema, kind, object, FieldValidation::Strict).unwrap().object;
        assert_eq!(encode_protobuf(schema, kind, &object), bytes, "{}", kind.kind);
    }
}
