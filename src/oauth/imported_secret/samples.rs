//! Secrets of known generators, and secrets as people make them, for the tests.

use crate::encoding::STANDARD;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A random number generator with a seed (SplitMix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(13))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn one_of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }

    /// Whether something with this probability happens.
    fn happens(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }

    fn text(&mut self, characters: &str, length: usize) -> String {
        let characters = characters.as_bytes();
        (0..length)
            .map(|_| char::from(characters[self.below(characters.len())]))
            .collect()
    }
}

type Generator = fn(&mut Random) -> String;

const LETTERS_AND_DIGITS: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

pub const GENERATORS: [(&str, Generator); 13] = [
    ("UUID v4", |random| {
        let mut bytes = random.bytes(16);
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex = hex(&bytes);
        [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
    }),
    ("12 bytes in hex", |random| hex(&random.bytes(12))),
    ("16 bytes in hex", |random| hex(&random.bytes(16))),
    ("32 bytes in hex", |random| hex(&random.bytes(32))),
    ("base32", |random| random.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 26)),
    ("24 letters and digits", |random| random.text(LETTERS_AND_DIGITS, 24)),
    ("Keycloak", |random| random.text(LETTERS_AND_DIGITS, 32)),
    ("43 letters and digits", |random| random.text(LETTERS_AND_DIGITS, 43)),
    ("16 bytes in base64url", |random| {
        URL_SAFE_NO_PAD.encode(random.bytes(16))
    }),
    ("32 bytes in base64url", |random| {
        URL_SAFE_NO_PAD.encode(random.bytes(32))
    }),
    ("48 bytes in base64url", |random| {
        URL_SAFE_NO_PAD.encode(random.bytes(48))
    }),
    ("24 bytes in base64", |random| STANDARD.encode(random.bytes(24))),
    ("Ory Hydra", |random| {
        random.text(&format!("{LETTERS_AND_DIGITS}-_.~"), 26)
    }),
];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Words that passwords are often made of, in several languages, and names.
const WORDS: &str = "password passwort letmein welcome admin administrator master dragon monkey football baseball \
    sunshine princess shadow superman batman trustno michael jennifer jordan harley ranger hunter buster soccer hockey \
    killer george charlie andrew michelle love jessica pepper daniel access thunder joshua maggie starwars silver \
    william dallas yankees computer secret orange summer winter spring autumn freedom whatever qwerty ginger hammer \
    tigger purple london berlin munich paris madrid boston austin chicago prod production staging test testing service \
    services server client orders order billing invoice payment payments shipping customer customers backend frontend \
    gateway internal external secure security token oauth api key keys company corp acme contoso example default \
    changeme temporary backup database postgres mysql redis kafka rabbit queue worker cluster kunde kundenservice \
    rechnung bestellung geheim schluessel sicher firma abteilung entwicklung betrieb cuentas pedidos servicio clave \
    facture commande serveur motdepasse anna peter maria thomas julia stefan laura markus sophie lukas emma paul mia \
    leon hannah felix lena max clara jonas robert james john david richard charles joseph christopher matthew anthony \
    donald steven kevin brian";

const WALKS: [&str; 17] = [
    "qwertyuiop",
    "asdfghjkl",
    "1234567890",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm",
    "qazwsxedcrfvtgbyhnujm",
    "1q2w3e4r5t6y7u8i9o0p",
    "q1w2e3r4t5y6u7i8o9p0",
    "a1s2d3f4g5h6j7k8l9",
    "z1x2c3v4b5n6m7",
    "qweasdzxc",
    "poiuytrewq",
    "0987654321",
    "qwerasdfzxcv",
    "zaq12wsx",
    "abcdefghijklmnopqrstuvwxyz",
    "1a2b3c4d5e6f7g8h9i",
    "a1b2c3d4e5f6g7h8",
];

pub const HABITS: [(&str, Generator); 8] = [
    ("words with digits for letters", |random| {
        let share = [40, 60, 80, 100][random.below(4)];
        let separator = separator(random);
        let text = joined(random, separator, |random| {
            let word = capitalized(word(random), random);
            leet(&word, share, random)
        });
        text + &tail(random)
    }),
    ("capitalized words", |random| {
        let separator = separator(random);
        joined(random, separator, |random| capitalized(word(random), random)) + &tail(random)
    }),
    ("words in lower case", |random| {
        let separator = separator(random);
        joined(random, separator, |random| word(random).to_owned()) + &tail(random)
    }),
    ("words with numbers", |random| {
        let separator = separator(random);
        joined(random, separator, |random| {
            capitalized(word(random), random) + &tail(random)
        })
    }),
    ("words in capitals with digits for letters", |random| {
        joined(random, "", |random| leet(word(random), 70, random).to_uppercase()) + &tail(random)
    }),
    ("a part that is repeated", |random| {
        let part = 4 + random.below(5);
        let part = random.text(LETTERS_AND_DIGITS, part);
        repeated(&part, random) + &tail(random)
    }),
    ("a word that is repeated", |random| {
        let word = capitalized(word(random), random);
        let part = leet(&word, 50, random) + &tail(random);
        joined(random, "", |_| part.clone())
    }),
    ("walks on the keyboard", |random| {
        let walk = random.one_of(&WALKS);
        let from = random.below(walk.len());
        let walk = repeated(&format!("{}{}", &walk[from..], &walk[..from]), random);
        let walk = match random.below(3) {
            0 => walk,
            1 => walk[..1].to_uppercase() + &walk[1..],
            _ => {
                let alternating = |(at, c): (usize, char)| if at % 2 == 1 { c.to_ascii_uppercase() } else { c };
                walk.chars().enumerate().map(alternating).collect()
            }
        };
        walk + &tail(random)
    }),
];

fn word(random: &mut Random) -> &'static str {
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    random.one_of(&words)
}

fn separator(random: &mut Random) -> &'static str {
    random.one_of(&["", "", "", "-", "_", "."])
}

fn length(random: &mut Random) -> usize {
    [22, 22, 24, 24, 26, 28, 32][random.below(7)]
}

/// Parts until the text is long enough.
fn joined(random: &mut Random, separator: &str, mut part: impl FnMut(&mut Random) -> String) -> String {
    let length = length(random);
    let mut parts = part(random);
    while parts.len() < length {
        parts = parts + separator + &part(random);
    }
    parts
}

fn repeated(part: &str, random: &mut Random) -> String {
    let length = length(random);
    part.repeat(length.div_ceil(part.len()))[..length].to_owned()
}

fn capitalized(word: &str, random: &mut Random) -> String {
    match random.below(100) {
        0..60 => word[..1].to_uppercase() + &word[1..],
        60..68 => word.to_uppercase(),
        _ => word.to_owned(),
    }
}

fn leet(word: &str, percent: usize, random: &mut Random) -> String {
    let digit = |c: char| {
        "o0 i1 e3 a4 s5 t7 b8 g9 l1 z2"
            .split(' ')
            .find(|pair| pair.starts_with(c))?
            .chars()
            .nth(1)
    };
    let replaced = |c: char| digit(c).filter(|_| random.happens(percent)).unwrap_or(c);
    word.chars().map(replaced).collect()
}

fn tail(random: &mut Random) -> String {
    match random.below(9) {
        0 | 1 => String::new(),
        2 => (1950 + random.below(80)).to_string(),
        3 => random.below(1000).to_string(),
        number => ["123", "1", "01", "2024", "007"][number - 4].to_owned(),
    }
}
