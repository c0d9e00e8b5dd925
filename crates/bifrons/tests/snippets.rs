//! What `bifrons snippet` prints, run with the clients that it is for.
//!
//! `cargo xtask test` installs the clients where it may and names them by environment
//! variables. A test whose client is missing prints `skipped: …` and passes.

mod support;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use config::quote;
use support::bifrons;
use testkit::{Authority, Message, Origin, Proxy, Scratch, Served};

/// Longer than any client takes, also on a busy machine.
const LIMIT: Duration = Duration::from_secs(240);

/// Ten dashes.
const USER: &str = "a-b-c-d-e-f-g-h-i-j-k";
const PASSWORD: &str = "p:@%/+\"'$ \\`${x}#&;é";
/// What the origins answer to whatever is not git's.
const ANSWER: &str = "hello-through-the-proxy";

/// Two origins, a proxy that asks for a password, and a folder.
struct World {
    plain: Served,
    secret: Served,
    ca: PathBuf,
    proxy: Proxy,
    folder: Scratch,
}

fn answer(request: &Message) -> Vec<u8> {
    let body = match &*request.target() {
        "/project.git/info/refs?service=git-upload-pack" => {
            format!("{}\trefs/heads/main\n", "1".repeat(40))
        }
        "/project.git/HEAD" => "ref: refs/heads/main\n".to_owned(),
        _ => ANSWER.to_owned(),
    };
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

impl World {
    fn new() -> Self {
        let authority = Authority::new("test");
        let folder = Scratch::new();
        let tls = authority.issue(&["127.0.0.1"]).server(None);
        let (user, password) = (quote(USER), quote(PASSWORD));
        Self {
            plain: Origin::serve(answer),
            secret: Served::start(Origin::start().with_tls(tls), answer),
            ca: folder.write("ca.pem", &authority.pem),
            proxy: Proxy::start(&format!(
                "users \"staff\" {{ user {user} password={password}; }}
                forward \"127.0.0.1:0\" {{ auth users=\"staff\"; allow \"127.0.0.0/8\"; }}"
            )),
            folder,
        }
    }

    /// Writes what is printed for a client into a file of this name.
    fn snippet(&self, client: &str, scheme: &str, file: &str) -> PathBuf {
        let listener = self.proxy.first().to_string();
        let outcome = bifrons(&[
            "snippet",
            client,
            "--user",
            USER,
            "--password",
            PASSWORD,
            "--listener",
            &listener,
            "--scheme",
            scheme,
        ]);
        assert_eq!(outcome.code, Some(0), "{client}: {}", outcome.stderr);
        self.folder.write(file, outcome.stdout)
    }

    fn plain_url(&self) -> String {
        format!("http://{}/", self.plain.address())
    }

    fn secret_url(&self) -> String {
        format!("https://{}/", self.secret.address())
    }

    /// Everything that went through the proxy was asked for by the user, and nobody else went to
    /// the origins: each connection that these saw is in the log.
    #[track_caller]
    fn finish(self, requests: usize) {
        let connections = self.plain.connections() + self.secret.connections();
        let log = self.proxy.stop_and_read();
        let served = log.iter().filter(|line| line["user"] == USER).count();
        assert!(served >= requests, "{served} of {requests}: {log:?}");
        assert!(connections <= served, "{connections} connections, {served} of them of the proxy");
        assert!(log.iter().all(|line| line["user"] == USER || line["status"] == 407), "{log:?}");
    }
}

/// A program: the one that the variable names, else the first of these that `PATH` has. Says what
/// is skipped where there is none.
fn find(variable: &str, names: &[&str]) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Some(path.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let mut all = folders.iter().flat_map(|folder| names.iter().map(|name| folder.join(name)));
    let found = all.find(|candidate| candidate.is_file());
    if found.is_none() {
        println!("skipped: {} is not installed", names[0]);
    }
    found
}

/// A Python that has this module.
fn python(module: &str) -> Option<PathBuf> {
    let python = find("BIFRONS_TEST_PYTHON", &["python3"])?;
    let has = Command::new(&python).args(["-c", &format!("import {module}")]).output();
    if has.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    println!("skipped: there is no Python with {module}");
    None
}

/// npm's modules, if this one is among them.
fn node_modules(module: &str) -> Option<PathBuf> {
    let modules = std::env::var_os("BIFRONS_TEST_NODE_MODULES").map(PathBuf::from);
    let modules = modules.filter(|modules| modules.join(module).is_dir());
    if modules.is_none() {
        println!("skipped: {module} is not installed for Node");
    }
    modules
}

/// Runs a client in the folder, and returns what it prints. The machine's own settings do not
/// reach it, but for a `NO_PROXY` that says that everything is to be reached directly, which no
/// snippet is to heed.
#[track_caller]
fn run<A: AsRef<OsStr>>(
    world: &World,
    program: &Path,
    args: impl IntoIterator<Item = A>,
    env: &[(&str, &Path)],
) -> String {
    let folder = world.folder.path();
    let (out, err) = (folder.join(".out"), folder.join(".err"));
    let mut command = Command::new(program);
    command.args(args).current_dir(folder).env("HOME", folder).stdin(Stdio::null());
    for name in ["http_proxy", "https_proxy", "all_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    command.env("NO_PROXY", "*").env("no_proxy", "*");
    command.envs(env.iter().copied());
    command.stdout(fs::File::create(&out).expect("create"));
    command.stderr(fs::File::create(&err).expect("create"));
    // Of its own, so that what it starts ends with it.
    let mut child = command.process_group(0).spawn().expect("start");
    let pid = child.id();
    let (sender, ended) = channel();
    std::thread::spawn(move || sender.send(child.wait()));
    let outcome = ended.recv_timeout(LIMIT);
    if outcome.is_err() {
        // Nobody has waited for it yet, so the number is still its own.
        let _ = Command::new("kill").args(["-KILL", "--", &format!("-{pid}")]).status();
    }
    let text = |path| String::from_utf8_lossy(&fs::read(path).expect("read")).into_owned();
    let (out, err) = (text(&out), text(&err));
    let status = outcome.expect("still running").expect("wait");
    assert!(status.success(), "{command:?}: {status}\n{out}\n{err}");
    out
}

const NONE: &[(&str, &Path)] = &[];

#[test]
fn curl() {
    let Some(curl) = find("BIFRONS_TEST_CURL", &["curl"]) else { return };
    for scheme in ["http", "socks5h"] {
        let world = World::new();
        let rc = world.snippet("curl", scheme, "curlrc");
        for url in [world.plain_url(), world.secret_url()] {
            let args = ["--silent", "--show-error", "--fail", "--config"].map(OsStr::new);
            let more = [rc.as_os_str(), "--cacert".as_ref(), world.ca.as_os_str(), url.as_ref()];
            assert_eq!(run(&world, &curl, args.into_iter().chain(more), NONE), ANSWER, "{scheme}");
        }
        world.finish(2);
    }
}

#[test]
fn python_requests() {
    let Some(python) = python("requests, socks").or_else(|| python("requests")) else { return };
    let socks = Command::new(&python).args(["-c", "import socks"]).status();
    let schemes: &[&str] =
        if socks.is_ok_and(|status| status.success()) { &["http", "socks5h"] } else { &["http"] };
    for scheme in schemes {
        let world = World::new();
        let script = world.snippet("python", scheme, "get.py");
        let urls = [world.plain_url(), world.secret_url()];
        let args = [script.as_os_str()].into_iter().chain(urls.iter().map(OsStr::new));
        let said = run(&world, &python, args, &[("REQUESTS_CA_BUNDLE", &world.ca)]);
        assert_eq!(said, ANSWER.repeat(2), "{scheme}");
        world.finish(2);
    }
}

#[test]
fn node_undici() {
    let Some(node) = find("BIFRONS_TEST_NODE", &["node", "nodejs"]) else { return };
    let Some(modules) = node_modules("undici") else { return };
    let world = World::new();
    let script = world.snippet("node", "http", "get.js");
    let urls = [world.plain_url(), world.secret_url()];
    let args = [script.as_os_str()].into_iter().chain(urls.iter().map(OsStr::new));
    let env = [("NODE_PATH", &*modules), ("NODE_EXTRA_CA_CERTS", &*world.ca)];
    assert_eq!(run(&world, &node, args, &env), ANSWER.repeat(2));
    world.finish(2);
}

#[test]
fn playwright_chromium() {
    let Some(node) = find("BIFRONS_TEST_NODE", &["node", "nodejs"]) else { return };
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let Some(chromium) = find("BIFRONS_TEST_CHROMIUM", &names) else { return };
    let Some(modules) = node_modules("playwright-core") else { return };
    let world = World::new();
    let script = world.snippet("playwright", "http", "browse.js");
    // The core is playwright without the downloads.
    let ours = world.folder.path().join("modules");
    fs::create_dir(&ours).expect("folder");
    std::os::unix::fs::symlink(modules.join("playwright-core"), ours.join("playwright"))
        .expect("link");
    let url = world.plain_url();
    let env = [("NODE_PATH", &*ours), ("CHROMIUM", &*chromium)];
    let said = run(&world, &node, [script.as_os_str(), url.as_ref()], &env);
    assert!(said.contains(ANSWER), "{said}");
    world.finish(1);
}

#[test]
fn scrapy() {
    let Some(python) = python("scrapy") else { return };
    let world = World::new();
    let spider = world.snippet("scrapy", "http", "spider.py");
    for url in [world.plain_url(), world.secret_url()] {
        let args = ["-m", "scrapy", "runspider", "--nolog"].map(OsStr::new);
        let url = format!("url={url}");
        let more = [spider.as_os_str(), "-a".as_ref(), url.as_ref()];
        assert_eq!(run(&world, &python, args.into_iter().chain(more), NONE).trim(), ANSWER);
    }
    world.finish(2);
}

#[test]
fn git() {
    let Some(git) = find("BIFRONS_TEST_GIT", &["git"]) else { return };
    for scheme in ["http", "socks5h"] {
        let world = World::new();
        let settings = world.snippet("git", scheme, "proxy.gitconfig");
        let include = format!("include.path={}", settings.display());
        for url in [world.plain_url(), world.secret_url()] {
            let url = format!("{url}project.git");
            let args = ["-c", &include, "ls-remote", &url];
            // It heeds NO_PROXY, as its text says.
            let none = Path::new("");
            let env = [("NO_PROXY", none), ("no_proxy", none), ("GIT_SSL_CAINFO", &*world.ca)];
            let said = run(&world, &git, args, &env);
            assert!(said.contains("refs/heads/main"), "{scheme}: {said}");
        }
        world.finish(2);
    }
}

#[test]
fn apt() {
    let helper = Path::new("/usr/lib/apt/apt-helper");
    if !helper.is_file() {
        return println!("skipped: apt is not installed");
    }
    for scheme in ["http", "socks5h"] {
        let world = World::new();
        let settings = world.snippet("apt", scheme, "proxy.conf");
        let ca = format!("Acquire::https::CAInfo={}", world.ca.display());
        for (url, file) in [(world.plain_url(), "plain"), (world.secret_url(), "secret")] {
            let args = ["-o", "APT::Sandbox::User=root", "-o", &ca, "-c"].map(OsStr::new);
            let more =
                [settings.as_os_str(), "download-file".as_ref(), url.as_ref(), file.as_ref()];
            // It heeds no_proxy, as its text says.
            let env = [("NO_PROXY", Path::new("")), ("no_proxy", Path::new(""))];
            run(&world, helper, args.into_iter().chain(more), &env);
            let got = fs::read_to_string(world.folder.path().join(file)).expect("the file");
            assert_eq!(got, ANSWER, "{scheme}");
        }
        world.finish(2);
    }
}

#[test]
fn go() {
    let Some(go) = find("BIFRONS_TEST_GO", &["go"]) else { return };
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go");
    for scheme in ["http", "socks5h"] {
        let world = World::new();
        let program = world.snippet("go", scheme, "get.go");
        let urls = [world.plain_url(), world.secret_url()];
        let args = ["run".as_ref(), program.as_os_str()];
        let args = args.into_iter().chain(urls.iter().map(OsStr::new));
        let off = Path::new("off");
        let env = [("SSL_CERT_FILE", &*world.ca), ("GOCACHE", &*cache), ("GO111MODULE", off)];
        assert_eq!(run(&world, &go, args, &env), ANSWER.repeat(2), "{scheme}");
        world.finish(2);
    }
}

#[test]
fn java() {
    let Some(java) = find("BIFRONS_TEST_JAVA", &["java"]) else { return };
    let Some(keytool) = find("BIFRONS_TEST_KEYTOOL", &["keytool"]) else { return };
    let world = World::new();
    let program = world.snippet("java", "http", "Get.java");
    let ca = world.ca.to_string_lossy();
    let args = ["-importcert", "-noprompt", "-alias", "test", "-file", &*ca];
    let store = ["-keystore", "trust.p12", "-storepass", "changeit"];
    run(&world, &keytool, args.iter().chain(&store), NONE);
    let args =
        ["-Djavax.net.ssl.trustStore=trust.p12", "-Djavax.net.ssl.trustStorePassword=changeit"];
    let urls = [world.plain_url(), world.secret_url()];
    let args = args.iter().map(OsStr::new).chain([program.as_os_str()]);
    let said = run(&world, &java, args.chain(urls.iter().map(OsStr::new)), NONE);
    assert_eq!(said, ANSWER.repeat(2));
    world.finish(2);
}

#[test]
fn endpoints_are_addresses_that_work() {
    let Some(curl) = find("BIFRONS_TEST_CURL", &["curl"]) else { return };
    let world = World::new();
    let listener = world.proxy.first().to_string();
    let args = ["endpoints", "--user", USER, "--password", PASSWORD, "--listener", &listener];
    let outcome = bifrons(&args);
    let url = outcome.stdout.trim_end();
    assert!(outcome.code == Some(0) && url.lines().count() == 1, "{}", outcome.stderr);
    let target = world.plain_url();
    let args = ["--silent", "--fail", "--noproxy", "", "--proxy", url, &*target];
    assert_eq!(run(&world, &curl, args, NONE), ANSWER);
    world.finish(1);
}

#[test]
fn endpoints_ask_for_what_they_say() {
    let Some(curl) = find("BIFRONS_TEST_CURL", &["curl"]) else { return };
    for dialect in ["native", "decodo", "brightdata", "oxylabs", "iproyal"] {
        let mut world = World::new();
        let (user, password) = (quote(USER), quote("secret"));
        world.proxy = Proxy::start(&format!(
            "users \"staff\" {{ user {user} password={password}; }}
            forward \"127.0.0.1:0\" {{
                auth users=\"staff\"; allow \"127.0.0.0/8\"; exit \"world\"
            }}
            exits \"world\" {{
                address \"127.0.0.2\" country=\"CA\" city=\"toronto\"
                dialect \"{dialect}\"
            }}"
        ));
        let listener = world.proxy.first().to_string();
        let common = ["--user", USER, "--password", "secret", "--dialect", dialect];
        let endpoint = |more: &[&str]| {
            let all = [&["endpoints", "--listener", &listener], &common[..], more].concat();
            let outcome = bifrons(&all);
            assert_eq!(outcome.code, Some(0), "{dialect}: {}", outcome.stderr);
            outcome.stdout.trim_end().to_owned()
        };
        let target = world.plain_url();
        let place = ["--country", "ca", "--city", "toronto", "--sticky", "--strict"];
        let (good, bad) = (endpoint(&place), endpoint(&["--country", "de"]));
        let args = ["--silent", "--noproxy", "", "--proxy"];
        let said = run(&world, &curl, args.iter().chain(&[&*good, &target]), NONE);
        assert_eq!(said, ANSWER, "{dialect}");
        // A country that there is not is never another one.
        let said = run(&world, &curl, args.iter().chain(&[&*bad, &target]), NONE);
        assert_ne!(said, ANSWER, "{dialect}");
        assert_eq!(world.plain.connections(), 1, "{dialect}");
    }
}
