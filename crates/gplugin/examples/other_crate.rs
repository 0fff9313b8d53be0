//! A plugin that was built with another version of a crate that it shares with the host.

gplugin::plugin! {
    name: "other_crate",
    crates: [("shapes", "1.3.0")],
    symbols: { answer: u32 = 43 }
}
