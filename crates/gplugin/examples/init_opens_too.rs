//! `init_opens` under another name, so that two can wait for one another.

#[path = "init_opens.rs"]
mod init_opens;
