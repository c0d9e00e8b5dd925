//! Running programs that are not ours.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use testkit::Scratch;

/// Longer than any client takes, also on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(90);

/// Variables by which the machine's own settings would reach a client.
const SETTINGS: [&str; 14] = [
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
];

/// A program: the one that the variable names, else the first of these that `PATH` has.
pub fn find(variable: &str, names: &[&str]) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Some(path.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates = std::env::split_paths(&path)
        .chain(["/usr/sbin".into()])
        .flat_map(|folder| names.iter().map(move |name| folder.join(name)));
    candidates.find(|candidate| candidate.is_file())
}

/// The same; says what is skipped where there is none.
#[macro_export]
macro_rules! program_or_skip {
    ($variable:literal, $($name:literal),+) => {
        match $crate::program::find($variable, &[$($name),+]) {
            Some(path) => path,
            None => {
                println!("skipped: {} is not installed", [$($name),+][0]);
                return;
            }
        }
    };
}

/// A Python that has these modules; says what is skipped where there is none.
pub fn python(modules: &str) -> Option<PathBuf> {
    let python = find("BIFRONS_TEST_PYTHON", &["python3"]).filter(|python| {
        Run::new(python).args(["-c", &format!("import {modules}")]).finish().code == Some(0)
    });
    if python.is_none() {
        println!("skipped: there is no Python with {modules}");
    }
    python
}

/// The folder of npm's modules, if it has this one; says what is skipped where it has not.
pub fn node_modules(module: &str) -> Option<PathBuf> {
    let modules = std::env::var_os("BIFRONS_TEST_NODE_MODULES").map(PathBuf::from);
    let modules = modules.filter(|modules| modules.join(module).is_dir());
    if modules.is_none() {
        println!("skipped: {module} is not installed for Node");
    }
    modules
}

/// A server that is ended with the test.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a program said.
pub struct Said {
    /// Its exit status; `None`: a signal ended it.
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
    folder: Scratch,
}

impl Said {
    /// What a file of its folder holds; nothing, where there is none.
    pub fn file(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.path().join(name)).unwrap_or_default()
    }

    /// All it said.
    pub fn text(&self) -> String {
        format!("exit status {:?}\n{}\n{}", self.code, self.out, self.err)
    }

    /// The standard output of a program that ended well.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.text());
        self.out
    }
}

/// A run of a program, in a folder of its own.
pub struct Run {
    command: Command,
    folder: Scratch,
}

impl Run {
    pub fn new(program: &Path) -> Self {
        let folder = Scratch::new();
        let mut command = Command::new(program);
        command.stdin(Stdio::null()).current_dir(folder.path()).env("HOME", folder.path());
        for variable in SETTINGS {
            command.env_remove(variable);
        }
        // Of its own, so that what it starts ends with it.
        command.process_group(0);
        Self { command, folder }
    }

    /// Where it runs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn stdin(mut self, path: &Path) -> Self {
        self.command.stdin(File::open(path).expect("open"));
        self
    }

    /// Starts it beside the test, which is told its lines.
    #[track_caller]
    pub fn start(mut self) -> Beside {
        let err = self.folder.path().join(".err");
        self.command.stdout(Stdio::piped()).stderr(File::create(&err).expect("create"));
        let mut child = self.command.spawn().unwrap_or_else(|error| {
            panic!("cannot start {}: {error}", self.command.get_program().display())
        });
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let _ = out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line));
        });
        Beside { child, lines, folder: self.folder }
    }

    /// Runs it to its end; one that takes too long is ended, and so is the test.
    #[track_caller]
    pub fn finish(mut self) -> Said {
        // Files, because a pipe that nobody reads would stop it, and one that a child of it
        // holds open would stop us.
        let (out, err) = (self.folder.path().join(".out"), self.folder.path().join(".err"));
        self.command.stdout(File::create(&out).expect("create"));
        self.command.stderr(File::create(&err).expect("create"));
        let mut child = self.command.spawn().unwrap_or_else(|error| {
            panic!("cannot start {}: {error}", self.command.get_program().display())
        });
        let pid = child.id();
        let (sender, ended) = channel();
        std::thread::spawn(move || sender.send(child.wait()));
        let outcome = ended.recv_timeout(LIMIT);
        if outcome.is_err() {
            // Nobody has waited for it yet, so the number is still its own; so is its group,
            // which is all that it started.
            let group = format!("-{pid}");
            let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        }
        let text = |path| String::from_utf8_lossy(&fs::read(path).expect("read")).into_owned();
        let (out, err) = (text(&out), text(&err));
        match outcome {
            Ok(status) => {
                Said { code: status.expect("wait").code(), out, err, folder: self.folder }
            }
            Err(_) => panic!("still running after {LIMIT:?}: {:?}\n{out}\n{err}", self.command),
        }
    }
}

/// A program that runs beside the test and tells in lines what happens. It is ended with the
/// test, and so is all that it started.
pub struct Beside {
    child: Child,
    lines: Receiver<String>,
    folder: Scratch,
}

impl Beside {
    /// The next line that it prints.
    #[track_caller]
    pub fn line(&self) -> String {
        self.lines.recv_timeout(LIMIT).unwrap_or_else(|error| {
            let err = fs::read(self.folder.path().join(".err")).unwrap_or_default();
            panic!("no further line: {error}\n{}", String::from_utf8_lossy(&err))
        })
    }

    /// The next line, which must be this one.
    #[track_caller]
    pub fn expect(&self, line: &str) {
        assert_eq!(self.line(), line);
    }

    /// Ends it as a crash would: nothing is said to anybody.
    pub fn kill(&mut self) {
        // Nobody has waited for it yet, so the number is its own, and so is the group.
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.child.wait();
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // Once it was waited for, its number may be another's.
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.kill();
        }
    }
}
