//! The tour's client of the admin listener.

use serde_json::Value;

use super::client::{Connection, Response, Wrong};
use super::world::World;

/// A connection to the admin listener.
pub(super) struct Api {
    connection: Connection,
    host: String,
}

impl Api {
    /// Connects.
    pub(super) async fn open(world: &World) -> Result<Self, Wrong> {
        let admin = world.ports.admin;
        Ok(Self { connection: Connection::open(admin).await?, host: admin.to_string() })
    }

    /// Gets something as it is.
    pub(super) async fn get(&mut self, path: &str) -> Result<Response, Wrong> {
        let request = format!("GET {path} HTTP/1.1\nHost: {}", self.host);
        let response = self.connection.send(&request).await?;
        response.expect(200)?;
        Ok(response)
    }

    /// What is told at this path.
    pub(super) async fn read(&mut self, path: &str) -> Result<Value, Wrong> {
        json(&self.get(path).await?)
    }

    /// Asks for something to be done, and returns what is said of it.
    pub(super) async fn post(&mut self, path: &str, content: &Value) -> Result<Value, Wrong> {
        let head =
            format!("POST {path} HTTP/1.1\nHost: {}\nContent-Type: application/json", self.host);
        let response = self.connection.send_with(&head, &content.to_string()).await?;
        json(&response)
    }

    /// How a server of a group is.
    pub(super) async fn server(&mut self, upstream: &str, url: &str) -> Result<Value, Wrong> {
        let status = self.read("/api/v1/status").await?;
        let named = |all: &Value, key: &str, name: &str| {
            let found = list(all).find(|one| one[key] == name);
            found.cloned().ok_or_else(|| Wrong(format!("the status does not know {name}")))
        };
        let group = named(&status["upstreams"], "name", upstream)?;
        named(&group["servers"], "url", url)
    }
}

/// The elements of an array; of anything else, none.
pub(super) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn json(response: &Response) -> Result<Value, Wrong> {
    serde_json::from_str(&response.expect(200)?.body).map_err(Wrong::because)
}
