//! Who may do what on the bus, as one table ([`roles`]), and `docker/nats.conf`, which follows from it ([`render`]).
//!
//! Each role has an account of its own without JetStream. The streams are in two accounts; a role reaches them by service
//! imports only. Permissions of users are no border: the server does not check the reply subject of a message, and
//! JetStream answers to any subject. Such an answer stays in the account of the role.

mod render;
mod rights;
mod table;

pub use render::render;
pub use rights::{RoleRights, is_within};
pub use table::roles;
