//! Databases of places, made for a test (MaxMind DB File Format 2.0).

use std::net::IpAddr;

/// What a database says of a network.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// UTF-8.
    Text(String),
    /// Up to 32 bits.
    Number(u32),
    /// In this order.
    Map(Vec<(String, Value)>),
    /// In this order.
    List(Vec<Value>),
}

impl Value {
    /// A map.
    pub fn map<const N: usize>(fields: [(&str, Value); N]) -> Self {
        Self::Map(fields.map(|(name, value)| (name.to_owned(), value)).into())
    }

    /// A country, and perhaps more, as City databases have it. What is empty is left out.
    pub fn place(country: &str, state: &str, city: &str, zip: &str) -> Self {
        let names = |name: &str| Self::map([("names", Self::map([("en", name.into())]))]);
        let mut fields = Vec::new();
        let mut add = |key: &str, value: &str, field: Self| {
            if !value.is_empty() {
                fields.push((key.to_owned(), field));
            }
        };
        add("country", country, Self::map([("iso_code", country.into())]));
        add("subdivisions", state, Self::List(vec![names(state)]));
        add("city", city, names(city));
        add("postal", zip, Self::map([("code", zip.into())]));
        Self::Map(fields)
    }

    /// An autonomous system, as ASN databases have it.
    pub fn asn(number: u32) -> Self {
        Self::map([("autonomous_system_number", Self::Number(number))])
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => {
                control(out, 2, text.len());
                out.extend_from_slice(text.as_bytes());
            }
            Self::Number(number) => unsigned(out, 6, (*number).into()),
            Self::Map(fields) => {
                control(out, 7, fields.len());
                for (name, value) in fields {
                    Self::from(name.as_str()).encode(out);
                    value.encode(out);
                }
            }
            Self::List(values) => {
                control(out, 11, values.len());
                values.iter().for_each(|value| value.encode(out));
            }
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// The control byte of a field, with its type and size.
fn control(out: &mut Vec<u8>, kind: u8, size: usize) {
    let (short, rest) = match size {
        0..29 => (size as u8, Vec::new()),
        29..285 => (29, vec![(size - 29) as u8]),
        _ => (30, ((size - 285) as u16).to_be_bytes().to_vec()),
    };
    match kind {
        0..=7 => out.push((kind << 5) | short),
        // An extended type.
        _ => out.extend([short, kind - 7]),
    }
    out.extend(rest);
}

/// An unsigned number of this type, in as few bytes as will do.
fn unsigned(out: &mut Vec<u8>, kind: u8, number: u64) {
    let bytes = number.to_be_bytes();
    let bytes = &bytes[(number.leading_zeros() / 8) as usize..];
    control(out, kind, bytes.len());
    out.extend_from_slice(bytes);
}

/// A database, as it grows.
#[derive(Debug, Clone)]
pub struct Database {
    kind: String,
    nodes: Vec<[Record; 2]>,
    data: Vec<u8>,
}

/// Where one more bit of an address leads.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Record {
    Nothing,
    Node(usize),
    /// Its place in the data.
    Data(usize),
}

impl Database {
    /// One that knows nothing. The kind is `GeoLite2-City` and the like.
    pub fn new(kind: &str) -> Self {
        Self { kind: kind.to_owned(), nodes: vec![[Record::Nothing; 2]], data: Vec::new() }
    }

    /// Says this of a network (`192.0.2.0/24`). What was said of a part of it before stays; what
    /// was said of more than it does not hold for it any longer.
    #[must_use]
    pub fn with(mut self, net: &str, value: &Value) -> Self {
        let (bits, length) = bits(net);
        let data = Record::Data(self.data.len());
        value.encode(&mut self.data);
        let mut node = 0;
        for depth in 0..length {
            let side = (bits >> (127 - depth) & 1) as usize;
            if depth + 1 == length {
                self.fill(node, side, data);
                break;
            }
            node = match self.nodes[node][side] {
                Record::Node(next) => next,
                leaf => {
                    self.nodes.push([leaf; 2]);
                    let next = self.nodes.len() - 1;
                    self.nodes[node][side] = Record::Node(next);
                    next
                }
            };
        }
        self
    }

    fn fill(&mut self, node: usize, side: usize, data: Record) {
        match self.nodes[node][side] {
            Record::Node(below) => {
                for side in 0..2 {
                    if !matches!(self.nodes[below][side], Record::Data(_)) {
                        self.fill(below, side, data);
                    }
                }
            }
            _ => self.nodes[node][side] = data,
        }
    }

    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        let count = self.nodes.len();
        let mut out = Vec::new();
        for record in self.nodes.iter().flatten() {
            let number = match record {
                Record::Nothing => count,
                Record::Node(node) => *node,
                // Behind the tree and what separates it from the data.
                Record::Data(place) => count + 16 + place,
            };
            out.extend((number as u32).to_be_bytes());
        }
        out.extend([0; 16]);
        out.extend_from_slice(&self.data);
        out.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
        self.metadata(&mut out);
        out
    }

    fn metadata(&self, out: &mut Vec<u8>) {
        let number = |kind, number| {
            let mut field = Vec::new();
            unsigned(&mut field, kind, number);
            field
        };
        let value = |value: Value| {
            let mut field = Vec::new();
            value.encode(&mut field);
            field
        };
        // Numbers of 16, 32 and 64 bits are types of their own.
        let fields = [
            ("binary_format_major_version", number(5, 2)),
            ("binary_format_minor_version", number(5, 0)),
            ("build_epoch", number(9, 1_700_000_000)),
            ("database_type", value(self.kind.as_str().into())),
            ("description", value(Value::map([("en", "for a test".into())]))),
            ("ip_version", number(5, 6)),
            ("languages", value(Value::List(vec!["en".into()]))),
            ("node_count", number(6, self.nodes.len() as u64)),
            ("record_size", number(5, 32)),
        ];
        control(out, 7, fields.len());
        for (name, value) in fields {
            Value::from(name).encode(out);
            out.extend(value);
        }
    }
}

/// The bits of a network from the highest on, and how many. IPv4 is below `::/96`.
fn bits(net: &str) -> (u128, u32) {
    let (address, length) = net.split_once('/').expect("a network with its length");
    let length: u32 = length.parse().expect("a length in bits");
    match address.parse().expect("an address") {
        IpAddr::V4(address) => (u32::from(address).into(), 96 + length),
        IpAddr::V6(address) => (u128::from(address), length),
    }
}
