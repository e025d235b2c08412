//! One file a command, or a family of them.

pub mod after_commit;
pub mod backup;
pub mod carry_out;
pub mod certificates;
pub mod change;
pub mod check;
pub mod diff;
pub mod exec;
pub mod gc;
pub mod generate;
pub mod graph;
pub mod history;
pub mod image;
pub mod images;
pub mod logs;
pub mod look;
pub mod pin;
pub mod points;
pub mod prechecks;
pub mod rehearse;
pub mod secrets;
pub mod status;
pub mod timeline;
pub mod up;
pub mod upgrade;
pub mod verify;
