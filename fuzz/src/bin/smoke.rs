//! Runs the fuzz targets on any toolchain: seeds, and mutations of them.
//!
//! It sees no coverage, so it finds little that is deep; it is there to keep the targets
//! alive and to notice the obvious within seconds. The inputs come in the same order in every
//! run. The one that is being tried lies in `artifacts/TARGET/current`, so that it survives
//! what cannot be caught (a stack overflow, an abort).

#![forbid(unsafe_code)]

use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bifrons_fuzz::{TARGETS, Target};

/// An input that takes longer counts as a hang.
const SLOW: Duration = Duration::from_secs(2);
/// Inputs do not grow beyond this.
const LONGEST: usize = 16 << 10;
/// Mutations on top of each other.
const DEEPEST: usize = 8;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("smoke: {error}");
            ExitCode::FAILURE
        }
    }
}

/// `smoke [--seconds N] [TARGET]`
fn run() -> Result<(), Box<dyn Error>> {
    let mut length = Duration::from_secs(3);
    let mut only = None;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        if arg == "--seconds" {
            let seconds = args.next().ok_or("--seconds needs a number")?;
            length = Duration::from_secs(seconds.parse()?);
        } else {
            only = Some(arg);
        }
    }
    if let Some(name) = &only
        && !TARGETS.iter().any(|target| target.name == name)
    {
        return Err(format!("no fuzz target `{name}`").into());
    }
    for target in TARGETS.iter().filter(|target| only.as_ref().is_none_or(|o| o == target.name)) {
        let count = Smoke::new(target)?.run(length)?;
        println!("{}: {count} inputs", target.name);
    }
    Ok(())
}

struct Smoke {
    target: &'static Target,
    seeds: Vec<Vec<u8>>,
    random: Random,
    artifacts: PathBuf,
    current: File,
}

impl Smoke {
    fn new(target: &'static Target) -> Result<Self, Box<dyn Error>> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = root.join("seeds").join(target.name);
        let mut paths: Vec<PathBuf> = fs::read_dir(&folder)
            .map_err(|error| format!("{}: {error}", folder.display()))?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, io::Error>>()?;
        paths.sort();
        let seeds = paths.iter().map(fs::read).collect::<Result<Vec<_>, _>>()?;
        if seeds.is_empty() {
            return Err(format!("{} is empty: put a seed there", folder.display()).into());
        }
        let artifacts = root.join("artifacts").join(target.name);
        fs::create_dir_all(&artifacts)?;
        let current = File::create(artifacts.join("current"))?;
        Ok(Self { target, seeds, random: Random(0x9e37_79b9_7f4a_7c15), artifacts, current })
    }

    /// The seeds as they are, then mutations until the time is over. Gives the number of
    /// inputs.
    fn run(&mut self, length: Duration) -> Result<u64, Box<dyn Error>> {
        let deadline = Instant::now() + length;
        for index in 0..self.seeds.len() {
            let seed = self.seeds[index].clone();
            self.attempt(&seed)?;
        }
        let mut count = self.seeds.len() as u64;
        while Instant::now() < deadline {
            let input = self.mutant();
            self.attempt(&input)?;
            count += 1;
        }
        fs::remove_file(self.artifacts.join("current"))?;
        Ok(count)
    }

    fn attempt(&mut self, input: &[u8]) -> Result<(), Box<dyn Error>> {
        self.current.set_len(input.len() as u64)?;
        self.current.write_all_at(input, 0)?;
        let started = Instant::now();
        let fault = match catch_unwind(AssertUnwindSafe(|| (self.target.run)(input))) {
            Err(_) => "panic",
            Ok(()) if started.elapsed() > SLOW => "slow",
            Ok(()) => return Ok(()),
        };
        let path = self.artifacts.join(fault);
        fs::write(&path, input)?;
        Err(format!("{}: {fault}; the input is in {}", self.target.name, path.display()).into())
    }

    fn mutant(&mut self) -> Vec<u8> {
        let mut input = self.seed().clone();
        for _ in 0..=self.random.below(DEEPEST) {
            self.mutate(&mut input);
        }
        input.truncate(LONGEST);
        input
    }

    fn seed(&mut self) -> &Vec<u8> {
        &self.seeds[self.random.below(self.seeds.len())]
    }

    fn mutate(&mut self, input: &mut Vec<u8>) {
        /// Bytes that mean something in the formats at hand.
        const SPECIAL: &[u8] = b"\0\r\n\t \"'/\\{}()[]:;,=*#%-+.0129AafFxz\x7f\x80\xc3\xff";
        let at = self.random.below(input.len() + 1);
        let end = (at + self.random.below(64)).min(input.len());
        match self.random.below(8) {
            0 if at < input.len() => input[at] ^= 1 << self.random.below(8),
            1 if at < input.len() => input[at] = SPECIAL[self.random.below(SPECIAL.len())],
            2 => input.insert(at, SPECIAL[self.random.below(SPECIAL.len())]),
            3 => drop(input.drain(at..end)),
            4 => input.truncate(at),
            // Repetition finds what grows with depth or with number.
            5 => {
                let times = self.random.below(64);
                let part = input[at..end].repeat(times);
                input.splice(at..at, part);
            }
            6 => {
                let other = self.seed().clone();
                let from = self.random.below(other.len() + 1);
                let to = (from + self.random.below(256)).min(other.len());
                input.splice(at..end, other[from..to].iter().copied());
            }
            _ => input.splice(at..at, self.random.number().to_string().into_bytes()).for_each(drop),
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap_or(0)
    }

    /// A number near a power of two, where overflows are.
    fn number(&mut self) -> u64 {
        let power = 1_u64.checked_shl(self.below(65) as u32).unwrap_or(0);
        power.wrapping_add(self.below(3) as u64).wrapping_sub(1)
    }
}
