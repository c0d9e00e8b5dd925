//! The tables of usage.

use crate::schema::Schema;

/// Money is in millionths, and in thousand-millionths of these what is over.
pub(super) const SCHEMA: Schema = Schema {
    // `BFUS`
    application: 0x4246_5553,
    what: "usage",
    steps: &["
        CREATE TABLE usage_exit (
            day INTEGER NOT NULL, user_set TEXT NOT NULL, user TEXT NOT NULL, exit TEXT NOT NULL,
            up INTEGER NOT NULL, down INTEGER NOT NULL, requests INTEGER NOT NULL,
            cost INTEGER NOT NULL, cost_rest INTEGER NOT NULL,
            PRIMARY KEY (day, user_set, user, exit)
        ) WITHOUT ROWID;
        CREATE TABLE usage_target (
            day INTEGER NOT NULL, user_set TEXT NOT NULL, user TEXT NOT NULL, exit TEXT NOT NULL,
            target TEXT NOT NULL,
            up INTEGER NOT NULL, down INTEGER NOT NULL, requests INTEGER NOT NULL,
            cost INTEGER NOT NULL, cost_rest INTEGER NOT NULL,
            PRIMARY KEY (day, user_set, user, exit, target)
        ) WITHOUT ROWID;
        CREATE TABLE period (
            user_set TEXT NOT NULL, user TEXT NOT NULL, kind INTEGER NOT NULL,
            start INTEGER NOT NULL, bytes INTEGER NOT NULL,
            cost INTEGER NOT NULL, cost_rest INTEGER NOT NULL,
            PRIMARY KEY (user_set, user, kind)
        ) WITHOUT ROWID;
    "],
};
