//! What users have used, what is left of it, and users in a database.
//!
//! * [`Accounts`]: all users of the process, found again by every configuration; what they use is
//!   written to a file by a thread of its own, and read from there at the next start.
//! * [`Account`]: one user: whether it may ask ([`Account::admit`]), connect
//!   ([`Account::connect`]) and spend ([`Account::affords`]).
//! * [`Meter`]: what one request or tunnel moves. A byte passes only after it was reserved, by
//!   compare-and-swap on what all cores share: so quotas and budgets are exact to the byte.
//! * [`UsageQuery`]: what was used, by user, exit, target and day.
//! * [`UserStore`]: users, their passwords, keys and limits, in a file of their own.
//!
//! Time is a parameter ([`Moment`]) everywhere but in the thread that writes.

#![forbid(unsafe_code)]

mod account;
mod accounts;
mod bucket;
mod calendar;
mod cells;
mod denied;
mod limits;
mod meter;
mod moment;
mod purse;
mod query;
mod schema;
mod store;
mod tally;
mod users;
mod writer;

pub use account::{Account, ConnectionPermit, PeriodStanding, Standing};
pub use accounts::Accounts;
pub use calendar::{Day, NotADay, Zone};
pub use cells::{MOST_EXITS, MOST_TARGETS, OTHER};
pub use denied::Denied;
pub use limits::Limits;
pub use meter::{Direction, Granted, Meter};
pub use moment::Moment;
pub use query::{By, UsageQuery, UsageRow, to_csv};
pub use store::FILE as USAGE_FILE;
pub use users::{
    ApiKey, StoredKey, StoredUser, UserStore, UserStoreError, check_user_name, generate_password,
    hash_password, users_of,
};
pub use writer::{Status, Total};
