use config::{Exit, ExitPool, HopProtocol, TargetRule, User, UserSet, Verdict};

use super::*;

fn span() -> Span {
    Span::from((3, 4))
}

fn list(url: &str, seconds: u64) -> Spanned<ListSource> {
    let every = Duration::from_secs(seconds);
    Spanned { value: ListSource::Url { url: url.into(), every }, span: span() }
}

fn rule(url: &str, seconds: u64) -> TargetRule {
    TargetRule::new(Verdict::Deny, vec![TargetPattern::List(list(url, seconds))], span())
}

fn config(state: Option<&Path>, url: &str) -> Config {
    let text = "forward \"127.0.0.1:0\" { deny list=\"local.txt\" }";
    let mut config = config::parse("test.kdl", text, Path::new("/etc")).unwrap();
    config.state = state.map(|path| Spanned { value: path.into(), span: span() });
    config.forwards[0].rules.push(rule(&format!("{url}/domains"), 600));
    let mut user = User::new("alice", span());
    user.limits.rules =
        vec![rule(&format!("{url}/domains"), 60), rule(&format!("{url}/users"), 60)];
    let mut set = UserSet::new("staff", span());
    set.defaults.rules = vec![rule(&format!("{url}/all"), 60)];
    set.users.push(user);
    config.users.push(set);
    let parents = list(&format!("{url}/exits"), 60);
    let parents = ExitKind::List { source: parents, scheme: HopProtocol::Http };
    config.exits.push(ExitPool::new("world", vec![Exit::new("p", parents, span())], span()));
    config
}

#[test]
fn every_list_of_a_configuration_is_found_once() {
    let state = Path::new("/var/lib/state");
    let found = wanted(&config(Some(state), "http://lists.example"));
    let told: Vec<(&str, u64, Content)> =
        found.iter().map(|list| (&list.url[21..], list.every.as_secs(), list.content)).collect();
    assert_eq!(
        told,
        [
            ("domains", 60, Content::Domains),
            ("users", 60, Content::Domains),
            ("all", 60, Content::Domains),
            ("exits", 60, Content::Exits),
        ]
    );
    assert!(found.iter().all(|list| list.path.starts_with("/var/lib/state/lists")));
    assert_eq!(wanted(&config(None, "http://lists.example")), []);
}

#[test]
fn what_cannot_be_had_at_the_start_is_an_error_for_each_list() {
    // Nobody listens there: the port is one that was given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    let config = config(Some(folder.path()), &format!("http://me:hunter2@127.0.0.1:{port}"));
    let errors = fetch_missing(&config).unwrap_err();
    assert_eq!(errors.len(), 4);
    for error in &errors {
        let message = &error.message;
        assert!(message.contains(&format!("http://127.0.0.1:{port}/")), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
        assert_eq!(error.span, Some(span()));
    }
    // With copies nobody is asked.
    for list in wanted(&config) {
        std::fs::create_dir_all(list.path.parent().unwrap()).unwrap();
        std::fs::write(&list.path, "a.example\n").unwrap();
    }
    assert!(fetch_missing(&config).is_ok());
}

#[test]
fn failures_are_followed_by_longer_and_longer_pauses() {
    let every = Duration::from_secs(300);
    let pauses: Vec<u64> = (0..7).map(|failures| pause(every, failures).as_secs()).collect();
    assert_eq!(pauses, [300, 30, 60, 120, 240, 300, 300]);
    assert_eq!(pause(Duration::from_secs(10), 1), Duration::from_secs(10));
}
