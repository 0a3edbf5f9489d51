// SPDX-License-Identifier: GPL-2.0

//! Makes a program, that is a module with a protocol.rs and a word.rs, of the shipped text and of each
//! planted defect. A defect whose text is no longer in the shipped file, or is there twice, is an
//! error: it has to follow the file.

#![forbid(unsafe_code)]
#![allow(dead_code, reason = "who catches a defect matters to the suite only")]

use std::{env, fmt::Write, fs, path::Path};

#[path = "src/defects.rs"]
mod defects;

use defects::{Defect, File, DEFECTS};

fn main() {
    let here = env::var("CARGO_MANIFEST_DIR").unwrap();
    let policy = format!("{here}/../../rust/policy");
    let out = env::var("OUT_DIR").unwrap();
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/defects.rs");
    println!("cargo::rerun-if-changed=src/defects");

    let mut programs = String::new();
    let mut table = String::new();
    program(
        &mut programs,
        &mut table,
        "shipped",
        "",
        &here,
        &policy,
        &policy,
    );
    for defect in DEFECTS.into_iter().flatten() {
        let module = defect.name.replace('-', "_");
        let dir = format!("{out}/{module}");
        fs::create_dir_all(&dir).unwrap();
        for (file, name) in [(File::Word, "word.rs"), (File::Protocol, "protocol.rs")] {
            let source = format!("{policy}/{name}");
            println!("cargo::rerun-if-changed={source}");
            write_if_changed(&format!("{dir}/{name}"), &mutate(&source, file, defect));
        }
        program(
            &mut programs,
            &mut table,
            &module,
            defect.name,
            &here,
            &dir,
            &dir,
        );
    }
    let text = format!("{programs}\npub(crate) static PROGRAMS: &[Program] = &[\n{table}];\n");
    write_if_changed(&format!("{out}/programs.rs"), &text);
}

fn program(
    programs: &mut String,
    table: &mut String,
    module: &str,
    defect: &str,
    here: &str,
    word: &str,
    protocol: &str,
) {
    // A defect may leave something unused.
    let allow = if defect.is_empty() {
        ""
    } else {
        "#[allow(unused)] "
    };
    write!(
        programs,
        "{allow}pub(crate) mod {module} {{\n\
         pub(crate) use crate::policy::life;\n\
         #[path = \"{word}/word.rs\"] pub(crate) mod word;\n\
         #[path = \"{protocol}/protocol.rs\"] pub(crate) mod protocol;\n\
         #[path = \"{here}/src/glue.rs\"] pub(crate) mod glue;\n\
         }}\n"
    )
    .unwrap();
    writeln!(
        table,
        "Program {{ defect: \"{defect}\", calls: &{module}::glue::CALLS }},"
    )
    .unwrap();
}

fn mutate(source: &str, file: File, defect: &Defect) -> String {
    let mut text = fs::read_to_string(source).unwrap_or_else(|e| panic!("{source}: {e}"));
    for edit in defect.edits.iter().filter(|edit| edit.file == file) {
        let found = text.matches(edit.old).count();
        assert!(
            found == 1,
            "defect {}: {} has this text {found} times, not once: let the defect follow it\n{}",
            defect.name,
            Path::new(source).display(),
            edit.old
        );
        text = text.replace(edit.old, edit.new);
    }
    text
}

/// Cargo builds again what is newer than its product.
fn write_if_changed(path: &str, text: &str) {
    if fs::read_to_string(path).ok().as_deref() != Some(text) {
        fs::write(path, text).unwrap();
    }
}
