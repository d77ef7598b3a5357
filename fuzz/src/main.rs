//! One program for all targets: with `--cfg fuzzing` libFuzzer's, which takes the target from `FUZZ_TARGET`; without
//! it one that writes first inputs and tries files.
#![cfg_attr(fuzzing, no_main, allow(unsafe_code))]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    static TARGET: std::sync::LazyLock<&fuzz::Target> = std::sync::LazyLock::new(|| {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        fuzz::target(&name).unwrap_or_else(|| panic!("FUZZ_TARGET={name} is none of {:?}", fuzz::names()))
    });
    (TARGET.run)(data);
});

#[cfg(not(fuzzing))]
fn main() -> std::process::ExitCode {
    use std::path::Path;

    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments[..] {
        ["seeds", folder] => fuzz::write_seeds(Path::new(folder)),
        ["try", name, ref files @ ..] => fuzz::try_files(name, files),
        _ => Err("use `fuzz seeds FOLDER` or `fuzz try TARGET FILE...`".to_owned()),
    };
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("fuzz: {message}; targets are {:?}", fuzz::names());
            std::process::ExitCode::FAILURE
        }
    }
}
