//! What contents look like (JSON Schema 2020-12).

mod cache;

use serde_json::{Map, Value, json};

/// All, by name.
pub(super) fn all() -> Value {
    let mut all = Map::new();
    for (name, schema) in [
        ("Error", error()),
        ("Description", json!({ "type": "object", "description": "An OpenAPI document." })),
        ("Status", status()),
        ("UpstreamStatus", upstream()),
        ("ServerStatus", server()),
        ("Question", question()),
        ("Explanation", json!({ "type": "object" })),
        ("Reload", reload()),
        ("Refresh", refresh()),
        ("Upgrade", object(&[("process", integer("The number of the new process."))], &[])),
        ("ServerChange", server_change()),
        ("ServerChanged", object(&[("upstream", to("UpstreamStatus"))], &[])),
        ("Done", object(&[("done", json!({ "const": true }))], &[])),
        ("Exit", exit()),
        ("Labels", labels()),
        ("Session", session()),
        ("Ban", ban()),
        ("NewBan", new_ban()),
        ("User", user()),
        ("Period", period()),
        ("StoredUser", stored_user()),
        ("NewUser", object(&new_user(), &NEVER_NEEDED)),
        ("UserChange", object(&user_change(), &NEVER_NEEDED)),
        ("UserChanged", user_changed()),
        ("UsageRow", usage_row()),
        ("Attempts", attempts()),
        ("Cache", cache::cache()),
        ("CacheTier", cache::tier()),
        ("CacheEntry", cache::entry()),
        ("CacheTop", cache::top()),
        ("CachePurge", cache::purge()),
        ("CachePurged", cache::purged()),
    ] {
        all.insert(name.to_owned(), schema);
    }
    Value::Object(all)
}

/// What a user may be said to be, of which all but the name can be left out.
const NEVER_NEEDED: [&str; 14] = [
    "password",
    "generate_password",
    "api_key",
    "disabled",
    "from",
    "expires",
    "bandwidth",
    "quota",
    "budget",
    "connections",
    "requests",
    "exits",
    "countries",
    "hours",
];

type Property = (&'static str, Value);

/// An object with these properties and no others, of which all but `optional` are always there.
fn object(properties: &[Property], optional: &[&str]) -> Value {
    let required: Vec<&str> =
        properties.iter().map(|(name, _)| *name).filter(|name| !optional.contains(name)).collect();
    let properties: Map<String, Value> =
        properties.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn to(schema: &str) -> Value {
    super::reference(schema)
}

fn typed(kind: impl Into<Value>, meaning: &str) -> Value {
    json!({ "type": kind.into(), "description": meaning })
}

fn text(meaning: &str) -> Value {
    typed("string", meaning)
}

fn integer(meaning: &str) -> Value {
    typed("integer", meaning)
}

fn boolean(meaning: &str) -> Value {
    typed("boolean", meaning)
}

/// Or null.
fn maybe(kind: &str, meaning: &str) -> Value {
    typed(json!([kind, "null"]), meaning)
}

fn list(items: Value, meaning: &str) -> Value {
    json!({ "type": "array", "items": items, "description": meaning })
}

fn texts(meaning: &str) -> Value {
    list(json!({ "type": "string" }), meaning)
}

fn error() -> Value {
    object(
        &[
            ("error", text("What is wrong, in a word.")),
            ("message", text("The same in a sentence or more.")),
            ("remedy", text("What can be done about it.")),
        ],
        &["remedy"],
    )
}

fn status() -> Value {
    let by_face =
        || object(&[("reverse", integer("Of sites.")), ("forward", integer("Of forward."))], &[]);
    let listener = object(
        &[
            ("address", text("Address and port.")),
            ("face", json!({ "enum": ["reverse", "forward", "tunnel"] })),
            ("tls", boolean("Whether TLS is spoken.")),
        ],
        &[],
    );
    let site = object(
        &[
            ("name", text("Its name in the configuration.")),
            ("listen", texts("Where it is served.")),
            ("routes", texts("Its routes as written.")),
        ],
        &[],
    );
    object(
        &[
            ("version", text("Version of the program.")),
            ("uptime_seconds", integer("Since the start.")),
            ("generation", integer("Generation of the configuration.")),
            ("threads", integer("Worker cores.")),
            ("draining", boolean("Whether it only finishes what runs.")),
            ("connections", by_face()),
            ("requests_in_flight", by_face()),
            ("tunnels", integer("Tunnels that are open.")),
            ("listeners", list(listener, "Sockets listened on.")),
            ("sites", list(site, "Sites of the reverse face.")),
            ("upstreams", list(to("UpstreamStatus"), "Groups of servers.")),
        ],
        &[],
    )
}

fn upstream() -> Value {
    object(
        &[
            ("name", text("Its name in the configuration.")),
            ("servers", list(to("ServerStatus"), "A name has one for each of its addresses.")),
            ("queued", integer("Requests that wait for a place.")),
            ("circuit_open", boolean("Whether nothing, or only trials, are let through.")),
        ],
        &[],
    )
}

fn server() -> Value {
    let states = ["well", "draining", "ill", "ejected", "backing off", "unresolved"];
    object(
        &[
            ("url", text("As in the configuration.")),
            ("addresses", texts("Where it is; empty while that is not known.")),
            ("state", json!({ "enum": states })),
            ("why", maybe("string", "Why, where that is known.")),
            ("weight", integer("Its share.")),
            ("backup", boolean("Whether it is used only when none but backups are left.")),
            ("in_flight", integer("Requests under way.")),
            ("requests", integer("Requests since it is known.")),
            ("failures", integer("Those of them that failed.")),
            ("latency_ms", maybe("number", "Mean time to the head of a response.")),
            ("safe_to_stop", boolean("Whether it gets no requests and has none.")),
        ],
        &[],
    )
}

/// As `bifrons explain` asks; the program says what is wrong with it.
fn question() -> Value {
    json!({
        "type": "object",
        "description": "A request, with what `bifrons explain` takes: `method`, `url`, …",
        "properties": { "method": { "type": "string" }, "url": { "type": "string" } },
        "required": ["url"],
    })
}

fn reload() -> Value {
    let change = || {
        object(
            &[
                ("kept", integer("As they were.")),
                ("changed", integer("Others of the same name.")),
                ("added", integer("New ones.")),
                ("removed", integer("Gone.")),
            ],
            &[],
        )
    };
    let changes = [("listeners", change()), ("sites", change()), ("upstreams", change())];
    object(
        &[
            ("generation", integer("Generation of the configuration.")),
            ("ms", typed("number", "How long it took, in milliseconds.")),
            ("changes", object(&changes, &[])),
            ("warnings", texts("What takes effect at the next start only, and the like.")),
        ],
        &[],
    )
}

fn refresh() -> Value {
    object(
        &[
            ("generation", integer("Generation of the configuration.")),
            ("changed", boolean("Whether any file had changed and was read again.")),
        ],
        &[],
    )
}

fn server_change() -> Value {
    let changes = ["drain", "undrain", "weight", "add", "remove", "reset"];
    object(
        &[
            ("server", text("Its URL.")),
            ("change", json!({ "enum": changes })),
            ("weight", integer("0 to 1000, where the change is `weight`.")),
        ],
        &["weight"],
    )
}

fn exit() -> Value {
    object(
        &[
            ("pool", text("The pool that it stands in.")),
            ("exit", text("Its name.")),
            ("kind", text("What it is, in a word.")),
            ("state", json!({ "enum": ["up", "ill", "banned"] })),
            ("labels", to("Labels")),
            ("under_way", integer("Requests and connections under way.")),
            ("taken", integer("Times it was taken.")),
            ("failed", integer("Times it could not be connected through.")),
            ("banned_ms", maybe("integer", "How long it is banned yet, for all targets.")),
            ("address", maybe("string", "The address that the last measurement saw.")),
            ("measured_ms_ago", maybe("integer", "How long ago that was.")),
            ("country", maybe("string", "The country of that address.")),
            ("wrong_country", boolean("Whether that is another than the label says.")),
        ],
        &[],
    )
}

fn labels() -> Value {
    object(
        &[
            ("country", maybe("string", "Two letters.")),
            ("state", maybe("string", "The state or province.")),
            ("city", maybe("string", "The city.")),
            ("zip", maybe("string", "The postal code.")),
            ("asn", maybe("integer", "The autonomous system.")),
            ("price", maybe("string", "What 10⁹ bytes cost.")),
            ("tags", texts("Words by which it can be wished for.")),
        ],
        &[],
    )
}

fn session() -> Value {
    object(
        &[
            ("pool", text("The pool that was asked for it.")),
            ("set", text("The set of its user; empty: none.")),
            ("user", text("Whose it is; empty: nobody's in particular.")),
            ("id", text("What the client calls it.")),
            ("exit", maybe("string", "Its exit; null: that is gone.")),
            ("source", maybe("string", "Its source address, in a prefix.")),
            ("age_ms", integer("How long ago it began.")),
            ("left_ms", integer("How long it lasts yet, if it is not used.")),
            ("strict", boolean("Whether it fails instead of moving.")),
            ("requests", integer("Requests and connections.")),
            ("under_way", integer("Those under way.")),
            ("moves", integer("How often it has moved.")),
        ],
        &[],
    )
}

fn ban() -> Value {
    object(
        &[
            ("pool", text("The pool that the exit stands in.")),
            ("exit", text("The exit.")),
            ("host", maybe("string", "The target host; null: all.")),
            ("left_ms", integer("How long it lasts yet.")),
            ("why", text("The signs of a rule, or `by hand`.")),
        ],
        &[],
    )
}

fn new_ban() -> Value {
    object(
        &[
            ("exit", text("Its name, or `pool/name`.")),
            ("host", maybe("string", "The target host; without it all.")),
            ("seconds", integer("For how long.")),
        ],
        &["host"],
    )
}

fn user() -> Value {
    object(
        &[
            ("set", text("The set that it is of.")),
            ("name", text("Its name.")),
            (
                "source",
                json!({
                    "enum": ["configuration", "database", "other"],
                    "description": "Where it stands; other: an htpasswd file, a server that is asked, \
                        or nowhere any more.",
                }),
            ),
            ("connections", integer("Connections and streams that there are.")),
            ("day", json!({ "oneOf": [to("Period"), { "type": "null" }] })),
            ("month", json!({ "oneOf": [to("Period"), { "type": "null" }] })),
            ("stored", json!({ "oneOf": [to("StoredUser"), { "type": "null" }] })),
        ],
        &[],
    )
}

fn period() -> Value {
    object(
        &[
            ("bytes", integer("Bytes that have passed; what streams hold counts as used.")),
            ("quota", maybe("integer", "Bytes that may pass.")),
            ("bytes_left", maybe("integer", "What is left of these.")),
            ("cost", text("What that cost.")),
            ("budget", maybe("string", "What may be spent.")),
            ("money_left", maybe("string", "What is left of it.")),
            ("resets_in_seconds", integer("When the next period begins.")),
        ],
        &[],
    )
}

fn stored_user() -> Value {
    let key =
        object(&[("hint", text("How it begins.")), ("created", text("When it was made."))], &[]);
    let requests = json!({
        "type": ["object", "null"],
        "properties": { "amount": { "type": "integer" }, "per_ms": { "type": "integer" } },
        "required": ["amount", "per_ms"],
        "additionalProperties": false,
    });
    let limits = [
        ("bandwidth", maybe("integer", "Bytes in a second.")),
        ("quota", texts("10GiB/month.")),
        ("budget", texts("5.00/month.")),
        ("connections", maybe("integer", "Connections and streams at once.")),
        ("requests", requests),
        ("exits", texts("Exits, or pools of them.")),
        ("countries", texts("Countries that it may leave from.")),
        ("hours", texts("When it may ask.")),
    ];
    object(
        &[
            ("name", text("Its name.")),
            ("disabled", boolean("Whether it is refused at present.")),
            ("created", text("When it was added.")),
            ("password", boolean("Whether it has one.")),
            ("api_keys", list(key, "Its API keys; the keys themselves are nowhere.")),
            ("from", texts("Addresses from which it is this user who asks.")),
            ("expires", maybe("string", "From then on it is refused.")),
            ("limits", object(&limits, &[])),
        ],
        &[],
    )
}

fn new_user() -> Vec<Property> {
    let mut all = user_change();
    all.insert(0, ("name", text("Without a colon.")));
    all
}

fn user_change() -> Vec<Property> {
    vec![
        ("password", maybe("string", "Kept as an Argon2id hash; null: none is right.")),
        ("generate_password", boolean("Make one, and answer it this once.")),
        ("api_key", boolean("Make one more, and answer it this once; false: forget all.")),
        ("disabled", boolean("Whether it is refused at present.")),
        ("from", texts("Addresses from which it is this user who asks: 203.0.113.0/24.")),
        ("expires", maybe("string", "2027-01-31, or 2027-01-31T18:00:00Z.")),
        ("bandwidth", maybe("string", "Both directions together: 5MiB/s.")),
        ("quota", texts("10GiB/month.")),
        ("budget", texts("5.00/month.")),
        ("connections", maybe("integer", "Connections and streams at once.")),
        ("requests", maybe("string", "50/s.")),
        ("exits", texts("Exits that it may use, or pools of them.")),
        ("countries", texts("Countries that it may leave from: CA.")),
        ("hours", texts("When it may ask: Mon-Fri 08:00-18:00.")),
    ]
}

fn user_changed() -> Value {
    object(
        &[
            ("user", to("StoredUser")),
            ("password", text("The one that was made; it is shown this once.")),
            ("api_key", text("The one that was made; it is shown this once.")),
            ("generation", integer("Generation of the configuration that has it.")),
        ],
        &["password", "api_key"],
    )
}

fn usage_row() -> Value {
    object(
        &[
            ("day", text("The day.")),
            ("set", text("The set of the user.")),
            ("user", text("The user.")),
            ("exit", text("The exit.")),
            ("target", text("The target host.")),
            ("bytes_up", integer("Bytes from clients.")),
            ("bytes_down", integer("Bytes to clients.")),
            ("requests", integer("Requests and tunnels.")),
            ("cost", text("By the prices of exits.")),
        ],
        &["day", "set", "user", "exit", "target"],
    )
}

fn attempts() -> Value {
    object(
        &[
            ("failures", integer("Credentials that were wrong.")),
            ("delayed", integer("Those of them of which the answer was held back.")),
            ("refused", integer("Requests that were not listened to.")),
        ],
        &[],
    )
}
