//! The rules of every parser of foreign input ([`testkit::parsers`]), over the seeds of its fuzz
//! target, mutations of them and random bytes: what `cargo fuzz` does for hours, in seconds.

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};
use testkit::parsers::{PARSERS, Parser};

/// Mutations of seeds, for each parser.
const MUTATIONS: u32 = 2000;

/// Random inputs, for each parser.
const RANDOM: u32 = 500;

/// A tenth of a percent of mutations would not find what stands between quotes; these are what
/// grammars are made of.
const TOKENS: [&[u8]; 24] = [
    b"%", b"%2e", b"%2F", b"%00", b"\\", b"\"", b"\\u0000", b"\\ud800", b"/", b"/../", b".", b";", b",", b":", b"@",
    b"[", b"]", b"{", b"}", b"=", b"&", b" ", b"\n", b"\xff",
];

/// One step from an input to another one.
#[derive(Clone, Debug)]
enum Mutation {
    Flip(Index, u8),
    Cut(Index),
    Remove(Index, Index),
    Insert(Index, Vec<u8>),
    Token(Index, usize),
    /// The beginning of it with the end of another seed.
    Splice(Index, Index, Index),
    Repeat(Index, Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<Index>;
    prop_oneof![
        (index(), 0..8u8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        index().prop_map(Mutation::Cut),
        (index(), index()).prop_map(|(from, to)| Mutation::Remove(from, to)),
        (index(), vec(any::<u8>(), 1..8)).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        (index(), 0..TOKENS.len()).prop_map(|(at, token)| Mutation::Token(at, token)),
        (index(), index(), index()).prop_map(|(at, seed, from)| Mutation::Splice(at, seed, from)),
        (index(), index()).prop_map(|(from, to)| Mutation::Repeat(from, to)),
    ]
}

impl Mutation {
    fn apply(&self, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        // One more place than there are bytes: the end.
        let place = |at: &Index, bytes: &[u8]| at.index(bytes.len() + 1);
        let range = |from: &Index, to: &Index, bytes: &[u8]| {
            let (from, to) = (place(from, bytes), place(to, bytes));
            from.min(to)..from.max(to)
        };
        match self {
            Self::Flip(at, bit) => {
                let at = place(at, input);
                input.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << bit);
            }
            Self::Cut(at) => input.truncate(place(at, input)),
            Self::Remove(from, to) => drop(input.drain(range(from, to, input))),
            Self::Insert(at, bytes) => insert(input, place(at, input), bytes),
            Self::Token(at, token) => insert(input, place(at, input), TOKENS[*token]),
            Self::Splice(at, seed, from) => {
                let other = seed.get(seeds);
                input.truncate(place(at, input));
                input.extend_from_slice(&other[place(from, other)..]);
            }
            Self::Repeat(from, to) => {
                let range = range(from, to, input);
                let (end, bytes) = (range.end, input[range].to_vec());
                insert(input, end, &bytes);
            }
        }
    }
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    input.splice(at..at, bytes.iter().copied());
}

/// The seeds of a parser, in the order of their names.
fn seeds(parser: &Parser) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(parser.name);
    let mut files: Vec<_> = folder.read_dir().unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|file| std::fs::read(file).unwrap()).collect()
}

fn run<S: Strategy>(parser: &Parser, cases: u32, inputs: S, input: impl Fn(S::Value) -> Vec<u8>) {
    let config = Config {
        cases,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..Config::default()
    };
    let checked = TestRunner::new(config).run(&inputs, |drawn| {
        let input = input(drawn);
        let checked = std::panic::catch_unwind(|| (parser.check)(&input));
        checked.map_err(|_| {
            TestCaseError::fail(format!(
                "fuzz/seeds/{}: {:?}",
                parser.name,
                input.escape_ascii().to_string()
            ))
        })
    });
    if let Err(broken) = checked {
        panic!("{broken}");
    }
}

fn check_all(parser: &Parser) {
    let seeds = seeds(parser);
    assert!(!seeds.is_empty(), "{} has no seeds", parser.name);
    seeds.iter().for_each(|seed| (parser.check)(seed));
    run(
        parser,
        MUTATIONS,
        (any::<Index>(), vec(mutation(), 1..6)),
        |(seed, mutations)| {
            let mut input = seed.get(&seeds).clone();
            mutations.iter().for_each(|mutation| mutation.apply(&mut input, &seeds));
            input
        },
    );
    run(parser, RANDOM, vec(any::<u8>(), 0..64), |bytes| bytes);
}

/// A test for each parser, and a list of them.
macro_rules! parsers {
    ($($name:ident)*) => {
        $(#[test] fn $name() {
            let name = stringify!($name);
            check_all(PARSERS.iter().find(|parser| parser.name == name).unwrap());
        })*

        const TESTED: [&str; PARSERS.len()] = [$(stringify!($name)),*];
    };
}

parsers! {
    form basic json path host bearer jwt if_match cursor import_hydra import_keycloak import_csv prometheus
}

#[test]
fn every_parser_has_its_test_its_target_and_its_seeds() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let declared = std::fs::read_to_string(manifest.join("Cargo.toml")).unwrap();
    for parser in &PARSERS {
        let name = parser.name;
        assert!(TESTED.contains(&name), "{name} has no test");
        assert!(
            declared.contains(&format!("name = \"{name}\"\n")),
            "{name} has no target"
        );
        let target = std::fs::read_to_string(manifest.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(target.contains(&format!("target!({name});")), "{name}: {target}");
        assert!(!seeds(parser).is_empty(), "{name} has no seeds");
    }
    let folders = manifest.join("seeds").read_dir().unwrap().count();
    assert_eq!(folders, PARSERS.len(), "a folder of seeds belongs to no parser");
}
