//! Step 6: requests that wait for a person, and windows that people opened.
//!
//! In: a hold of policy, and what the request is bound to. Out: a permit, once, for exactly that request; or the reason
//! why there is none. Nobody but this step turns a hold into a permit. It knows no protocol and shows approvers no
//! constant of a request.

mod desk;
mod said;
mod ticket;
mod window;

pub use desk::{Binding, Desk, Store};
pub use said::{AskError, DeskError, Found, Outcome};
pub use ticket::{About, Approves, Cast, Filed, Needed, Open, State, Ticket};
pub use window::{Window, WindowAsked, Windows};
