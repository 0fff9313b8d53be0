//! The test suites that hashbrown and griddle publish inside their packages, run against `ghmap`.
//!
//! Nothing of them is kept here: the packages are found in cargo's registry cache (fetched first if
//! need be), their tests are unpacked under `target/suites`, and a package there renames `ghmap` to
//! `hashbrown` or `griddle`. Of the unit tests, which live inside the crates, those of the maps and sets
//! that use public API alone are taken; what is left out, and why, is printed.

use crate::run::{Result, cargo};
use std::fs;
use std::path::{Path, PathBuf};

/// One suite.
struct Suite {
    name: &'static str,
    version: &'static str,
    /// Manifest lines: the features of `ghmap`, and what the tests use.
    features: &'static str,
    dev: &'static str,
    /// Unit tests: source file, module, name of the generated test file.
    units: &'static [(&'static str, &'static str, &'static str)],
    /// Source files whose examples are run.
    examples: &'static [&'static str],
    /// Integration tests taken as they are.
    tests: &'static [&'static str],
    /// Words of the crate's insides; a unit test that says one of them is left out.
    private: &'static [&'static str],
    /// Integration tests' calls that hashbrown 0.17's signatures would refuse too.
    adapt: &'static [(&'static str, &'static str)],
    /// Tests that assert the crate's own layout through its public API, and what they assert.
    skip: &'static [(&'static str, &'static str)],
    /// Paths that mean something else outside the crate.
    paths: &'static [(&'static str, &'static str)],
}

const SUITES: &[Suite] = &[
    Suite {
        name: "hashbrown",
        version: "0.17.1",
        features: "\"serde\", \"rayon\", \"allocator-api2\", \"equivalent\"",
        dev: "allocator-api2 = \"0.2\"\nbumpalo = { version = \"3\", features = [\"allocator-api2\"] }\n\
              fnv = \"1\"\nrand = { version = \"0.9\", features = [\"small_rng\"] }\n\
              rayon = \"1\"\nserde_test = \"1\"\n",
        units: &[
            ("src/map.rs", "test_map", "unit_map"),
            ("src/set.rs", "test_set", "unit_set"),
            ("src/raw_entry.rs", "test_map", "unit_raw_entry"),
            ("src/table.rs", "tests", "unit_table"),
        ],
        examples: &["map", "raw_entry", "set", "table"],
        tests: &[
            "equivalent_trait",
            "hasher",
            "hasher_unwind",
            "rayon",
            "serde",
            "set",
        ],
        private: &[
            "raw_capacity",
            ".table",
            "get_test_map",
            "scopeguard",
            "make_hash",
        ],
        adapt: &[],
        skip: &[
            ("rehash_in_place", "a capacity of exactly 224"),
            (
                "hashmap_reserve_survives_panicking_build_hasher",
                "a capacity of exactly 224",
            ),
            (
                "map_serde_tokens",
                "the order in which hashbrown stores three keys",
            ),
            (
                "set_serde_tokens",
                "the order in which hashbrown stores three elements",
            ),
        ],
        paths: &[
            (
                "super::make_hash::<i32, _>(",
                "std::hash::BuildHasher::hash_one(",
            ),
            ("super::RawEntryMut", "hashbrown::hash_map::RawEntryMut"),
            ("super::Entry::", "hashbrown::hash_map::Entry::"),
            ("super::EntryRef", "hashbrown::hash_map::EntryRef"),
            ("super::", "hashbrown::"),
            ("crate::alloc::", "allocator_api2::alloc::"),
            ("crate::", "hashbrown::"),
            ("stdalloc::", "std::"),
        ],
    },
    Suite {
        name: "griddle",
        version: "0.6.0",
        features: "\"serde\", \"rayon\"",
        dev: "fnv = \"1\"\nlazy_static = \"1\"\nquickcheck = { version = \"1\", default-features = false }\n\
              rand = { version = \"0.8\", features = [\"small_rng\"] }\n\
              rayon_ = { package = \"rayon\", version = \"1\" }\nserde_test = \"1\"\n",
        units: &[
            ("src/map.rs", "test_map", "unit_map"),
            ("src/set.rs", "test_set", "unit_set"),
        ],
        examples: &[],
        // Its `serde.rs` tests hashbrown and not griddle.
        tests: &["quick", "rayon", "regressions"],
        // `drain_filter` has been renamed since, and its raw entries tell `is_split`.
        private: &["raw_capacity", ".table", "drain_filter"],
        adapt: &[("map.get(k).is_some()", "map.get::<u8>(k).is_some()")],
        skip: &[
            (
                "map_serde_tokens",
                "the order in which hashbrown stores three keys",
            ),
            (
                "set_serde_tokens",
                "the order in which hashbrown stores three elements",
            ),
        ],
        paths: &[
            (
                "super::{HashMap, RawEntryMut}",
                "griddle::{HashMap, hash_map::RawEntryMut}",
            ),
            ("super::RawEntryMut", "griddle::hash_map::RawEntryMut"),
            (
                "super::make_insert_hash::<i32, _>(",
                "std::hash::BuildHasher::hash_one(",
            ),
            (".raw_entry().map.len()", ".len()"),
            ("super::Entry::", "griddle::hash_map::Entry::"),
            (
                "super::super::map::DefaultHashBuilder",
                "griddle::DefaultHashBuilder",
            ),
            ("super::super::map::", "griddle::hash_map::"),
            ("super::", "griddle::"),
            ("crate::", "griddle::"),
        ],
    },
];

/// Runs both suites.
pub(crate) fn run() -> Result {
    for suite in SUITES {
        let root = PathBuf::from("target/suites").join(suite.name);
        let source = fetch(suite, &root.join("fetch"))?;
        let shim = root.join("shim");
        write_shim(suite, &source, &shim)?;
        let manifest = shim.join("Cargo.toml");
        let manifest = manifest.to_string_lossy();
        let mut args = vec!["test", "--manifest-path", &*manifest, "--tests"];
        args.extend(["--no-fail-fast", "--", "--exact"]);
        for (test, asserted) in suite.skip {
            eprintln!("  skipped of {}: {test} (asserts {asserted})", suite.name);
            args.extend(["--skip", test]);
        }
        cargo(&args, &[])?;
    }
    Ok(())
}

/// Where the package's source is: cargo unpacks it for a package that depends on it.
fn fetch(suite: &Suite, dir: &Path) -> std::result::Result<PathBuf, Box<dyn std::error::Error>> {
    fs::create_dir_all(dir.join("src"))?;
    fs::write(dir.join("src/lib.rs"), "")?;
    fs::write(
        dir.join("Cargo.toml"),
        format!(
            "[package]\nname = \"fetch-{0}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n\
             [dependencies]\n{0} = \"={1}\"\n",
            suite.name, suite.version
        ),
    )?;
    let manifest = dir.join("Cargo.toml");
    cargo(
        &["fetch", "--manifest-path", &manifest.to_string_lossy()],
        &[],
    )?;
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))
        .ok_or("no CARGO_HOME")?;
    let package = format!("{}-{}", suite.name, suite.version);
    for registry in fs::read_dir(home.join("registry/src"))? {
        let source = registry?.path().join(&package);
        if source.is_dir() {
            return Ok(source);
        }
    }
    Err(format!("{package} is not in the registry cache").into())
}

fn write_shim(suite: &Suite, source: &Path, shim: &Path) -> Result {
    // Tests of an older version must not linger.
    if shim.join("tests").is_dir() {
        fs::remove_dir_all(shim.join("tests"))?;
    }
    fs::create_dir_all(shim.join("tests"))?;
    fs::create_dir_all(shim.join("src"))?;
    fs::write(shim.join("src/lib.rs"), "")?;
    let ghmap = fs::canonicalize("crates/ghmap")?;
    fs::write(
        shim.join("Cargo.toml"),
        format!(
            "[package]\nname = \"{0}-suite\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[workspace]\n\
             [features]\ndefault = [\"rayon\", \"serde\"]\nrayon = []\nserde = []\n\
             [dependencies]\n{0} = {{ package = \"ghmap\", path = {1:?}, features = [{2}] }}\n\
             [dev-dependencies]\n{3}",
            suite.name, ghmap, suite.features, suite.dev
        ),
    )?;
    for test in suite.tests {
        let file = format!("tests/{test}.rs");
        let mut text = fs::read_to_string(source.join(&file))?;
        for (from, to) in suite.adapt {
            text = text.replace(from, to);
        }
        fs::write(shim.join(&file), text)?;
    }
    for (file, module, name) in suite.units {
        let text = fs::read_to_string(source.join(file))?;
        let test = unit_tests(suite, &text, module)?;
        fs::write(shim.join(format!("tests/{name}.rs")), test)?;
    }
    for name in suite.examples {
        let text = fs::read_to_string(source.join(format!("src/{name}.rs")))?;
        fs::write(shim.join(format!("tests/doc_{name}.rs")), examples(&text))?;
    }
    Ok(())
}

/// The module's items that use public API alone, as a test file.
fn unit_tests(
    suite: &Suite,
    text: &str,
    module: &str,
) -> std::result::Result<String, Box<dyn std::error::Error>> {
    let opening = format!("mod {module} {{\n");
    let start = text.find(&opening).ok_or("no such module")? + opening.len();
    let body = &text[start..];
    let body = &body[..body.find("\n}\n").ok_or("the module does not end")?];
    let mut kept = String::new();
    let mut item = String::new();
    for line in body.lines() {
        // griddle's own state between two tables: what is asserted of it is dropped, the rest kept.
        if line.contains(".is_split()") && line.trim_start().starts_with("assert!(") {
            eprintln!(
                "  left out of {}: {} (its own layout)",
                suite.name,
                line.trim()
            );
            continue;
        }
        let line = suite
            .paths
            .iter()
            .fold(line.to_string(), |line, (from, to)| line.replace(from, to));
        item.push_str(&line);
        item.push('\n');
        let statement = line.starts_with("    ") && !line.starts_with("     ");
        let ends = line == "    }" || statement && (line.ends_with(';') || line.ends_with("{}"));
        if ends {
            let inside = suite.private.iter().find(|word| item.contains(*word));
            match (inside, item.lines().find(|line| line.contains("fn "))) {
                (None, _) => kept.push_str(&item),
                (Some(word), Some(name)) => {
                    eprintln!("  left out of {}: {} ({word})", suite.name, name.trim());
                }
                (Some(_), None) => {}
            }
            item.clear();
        }
    }
    Ok(kept)
}

/// The examples of a source file's comments, each a test.
fn examples(text: &str) -> String {
    let mut tests = String::new();
    let mut lines = text.lines().zip(1..);
    let comment = |line: &str| {
        let line = line.trim_start();
        let line = line.strip_prefix("///").or(line.strip_prefix("//!"))?;
        Some(line.strip_prefix(' ').unwrap_or(line).to_string())
    };
    while let Some((line, number)) = lines.next() {
        let opening = comment(line);
        let Some(kind) = opening.as_deref().and_then(|line| line.strip_prefix("```")) else {
            continue;
        };
        let body: Vec<String> = lines
            .by_ref()
            .map_while(|(line, _)| comment(line).filter(|line| !line.starts_with("```")))
            // What the page does not show is run all the same, and nothing needs a nightly compiler here.
            .map(|line| match line.trim_start().strip_prefix('#') {
                Some(hidden) if !hidden.starts_with('[') => hidden.to_string(),
                _ => line,
            })
            .filter(|line| !line.contains("#[cfg(feature = \"nightly\")]"))
            .map(|line| line.replace("#[cfg(not(feature = \"nightly\"))]", "#[cfg(any())]"))
            .collect();
        if ["ignore", "compile_fail", "text"]
            .iter()
            .any(|word| kind.contains(word))
        {
            continue;
        }
        let body = body.join("\n");
        let body = if body.contains("fn main") {
            body.replace("fn main", "pub fn main")
        } else {
            format!("pub fn main() {{\n{body}\n}}")
        };
        let panics = if kind.contains("should_panic") {
            "#[should_panic] "
        } else {
            ""
        };
        tests.push_str(&format!(
            "mod line_{number} {{\n{body}\n}}\n\
             #[test] {panics}fn example_{number}() {{ let _ = line_{number}::main(); }}\n"
        ));
    }
    tests
}
