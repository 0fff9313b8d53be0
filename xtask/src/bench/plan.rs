//! Who runs what, and in what order, from the catalogue `benches/catalogue.jsonl`.
//!
//! The catalogue is what `bench-runner list` prints when every peer is built in. It is kept in a file so that
//! a peer that does not build still has its rows, which say "not run".

use super::build::Programs;
use super::row::Row;
use super::{Options, Peers};

use serde_json::Value;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

/// One program's run of one workload, and the rows that it fills: several where a run gives several figures.
#[derive(Debug)]
pub(super) struct Turn {
    /// `None`: not run, or failed.
    pub(super) program: Option<PathBuf>,
    /// The workload that is run.
    pub(super) from: String,
    pub(super) rows: Vec<Row>,
    /// Of each row.
    pub(super) samples: Vec<Vec<f64>>,
    pub(super) runs: usize,
    /// What they have taken.
    pub(super) spent: Duration,
}

impl Turn {
    fn new(program: Option<PathBuf>, from: String, row: Row) -> Self {
        Self {
            program,
            from,
            rows: vec![row],
            samples: vec![Vec::new()],
            runs: 0,
            spent: Duration::ZERO,
        }
    }

    /// Whether both run the same workload, and so take turns.
    pub(super) fn beside(&self, other: &Self) -> bool {
        let (a, b) = (&self.rows[0], &other.rows[0]);
        (&a.group, &self.from, a.procs) == (&b.group, &other.from, b.procs)
    }
}

/// The catalogue, and which of its lines the runner that was built can run.
#[derive(Debug)]
pub(super) struct Catalogue {
    lines: Vec<Value>,
    here: HashSet<[String; 3]>,
}

fn key(line: &Value) -> [String; 3] {
    ["group", "workload", "subject"].map(|k| line[k].as_str().unwrap_or_default().to_owned())
}

impl Catalogue {
    /// From the file, and from what `bench-runner list` printed: what only the latter has comes last.
    pub(super) fn new(file: &str, list: &str) -> serde_json::Result<Self> {
        fn parse(text: &str) -> serde_json::Result<Vec<Value>> {
            text.lines().map(serde_json::from_str).collect()
        }
        let mut lines = parse(file)?;
        let listed = parse(list)?;
        let known: HashSet<_> = lines.iter().map(key).collect();
        let here = listed.iter().map(key).collect();
        lines.extend(listed.into_iter().filter(|l| !known.contains(&key(l))));
        Ok(Self { lines, here })
    }

    /// The turns, those of one workload together.
    pub(super) fn plan(&self, o: &Options, programs: &Programs, machine: usize) -> Vec<Turn> {
        let mut turns: Vec<Turn> = Vec::new();
        for line in self.lines.iter().filter(|l| wanted(l, o)) {
            let text = |key: &str| line[key].as_str().unwrap_or_default();
            let able = text("program") != "bench-runner" || self.here.contains(&key(line));
            let program = programs.get(text("program")).filter(|_| able);
            let procs = match text("procs") {
                "each" => o.procs.clone(),
                "one" => vec![1],
                _ => vec![machine],
            };
            for procs in procs {
                let row = Row {
                    procs,
                    ..Row::from_json(line)
                };
                let turn = Turn::new(program.cloned(), text("from").to_owned(), row);
                let subject = &turn.rows[0].subject;
                let same = |t: &&mut Turn| t.beside(&turn) && t.rows[0].subject == *subject;
                match turns.iter_mut().find(same) {
                    Some(same) => {
                        same.rows.extend(turn.rows);
                        same.samples.extend(turn.samples);
                    }
                    None => turns.push(turn),
                }
            }
        }
        together(turns)
    }

    /// Rows as the catalogue has the workloads, each figure's subjects together, ours first.
    pub(super) fn arrange(&self, rows: &mut [Row]) {
        let mut groups: Vec<&str> = Vec::new();
        let mut order: HashMap<(&str, &str), usize> = HashMap::new();
        for line in &self.lines {
            let text = |key: &str| line[key].as_str().unwrap_or_default();
            let next = order.len();
            order
                .entry((text("group"), text("workload")))
                .or_insert(next);
            if !groups.contains(&text("group")) {
                groups.push(text("group"));
            }
        }
        // Stable: the subjects stay as they are, but ours is first.
        rows.sort_by_key(|r| {
            let group = groups.iter().position(|g| *g == r.group);
            let figure = order.get(&(r.group.as_str(), r.workload.as_str())).copied();
            (group, figure, r.procs, r.peer)
        });
    }
}

fn wanted(line: &Value, o: &Options) -> bool {
    let text = |key: &str| line[key].as_str().unwrap_or_default();
    let peer = line["peer"].as_bool().unwrap_or_default();
    o.wants(text("group"))
        && o.workload
            .as_ref()
            .is_none_or(|w| text("workload").contains(w.as_str()))
        && (!peer || o.peers != Peers::None)
        && (!text("program").starts_with("bench-go") || o.peers == Peers::All)
}

/// The turns of a workload one behind the other, in the order of their first.
fn together(mut turns: Vec<Turn>) -> Vec<Turn> {
    let mut ordered: Vec<Turn> = Vec::new();
    while !turns.is_empty() {
        let first = turns.remove(0);
        let (these, rest) = turns.into_iter().partition(|t| t.beside(&first));
        ordered.push(first);
        ordered.extend::<Vec<Turn>>(these);
        turns = rest;
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::super::{GROUPS, root};
    use super::*;

    use serde_json::json;

    /// The names that report.json keeps, so that reports stay comparable over the years: a group that no
    /// longer gives one of them breaks every comparison with an older report.
    const NAMES: [(&str, &str); 7] = [
        (
            "sched",
            "spawn_all spawn_batch yield ping_pong ring skynet sleepers blocking_declared blocking_undeclared \
             hog_ticker_worst hogs_300_ticks rss_stackful rss_future mutex",
        ),
        (
            "chan",
            "spsc_0 mpsc_0 mpmc_0 spsc_512 mpsc_512 mpmc_512 seq_512 try_recv_empty ping_pong_0 \
             select4_0 select4_1 select4_512 select4_unbounded async_spsc_0 async_spsc_1 \
             async_spsc_512 async_mpmc_512 send_latency_p50 send_latency_p99 go_spsc_0 \
             go_ping_pong_0 go_select4_0",
        ),
        (
            "map",
            "insert_max_1e5 insert_max_1e7 dep_hit_1e7 hit_1e5 hit_1e7 grow_1e5 grow_1e7 churn_1e7 \
             miss_1e3 miss_1e7 iterate_1e7 bytes_per_entry_best bytes_per_entry_worst",
        ),
        (
            "alloc",
            "pair_64 pair_1k pair_32k pair_1m fifo_256 fifo_1k random_live larson producer_consumer \
             realloc_16m rss_per_live rss_after_free",
        ),
        ("pool", "pair_1t pair_2t pair_8t burst_10k"),
        (
            "timer",
            "add_stop_0 add_stop_1e3 add_stop_1e5 add_stop_1e6 reset_1e3 reset_1e5 reset_1e6 \
             fire_1e6_p50 fire_1e6_max fire_1e6_cpu idle_10k_p50 idle_10k_p99",
        ),
        (
            "itab",
            "hit_1 hit_8 miss_8 assert_type switch_8 cold_build hit_10k",
        ),
    ];

    fn file() -> String {
        std::fs::read_to_string(root().join("benches/catalogue.jsonl")).unwrap()
    }

    fn options(peers: Peers) -> Options {
        Options {
            peers,
            ..Options::new(&root())
        }
    }

    /// But for `hit_10k`: no peer has a table of a hundred types by a hundred interfaces.
    #[test]
    fn every_name_that_reports_keep_is_in_the_catalogue_by_ours_and_a_peer() {
        let lines: Vec<Value> = file()
            .lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect();
        for (group, names) in NAMES {
            for name in names.split_whitespace() {
                let of = |peer: bool| {
                    lines
                        .iter()
                        .any(|l| l["group"] == group && l["workload"] == name && l["peer"] == peer)
                };
                assert!(of(false), "{group} {name} has no row of ours");
                assert!(of(true) || name == "hit_10k", "{group} {name} has no peer");
            }
        }
        assert_eq!(NAMES.map(|(g, _)| g).len(), GROUPS.len());
    }

    /// The names again, as the Go program spells them: it has no list of its own.
    #[test]
    fn every_go_row_is_a_workload_of_the_go_program() {
        let folder = std::fs::read_dir(root().join("benches/go")).unwrap();
        let source: String = folder
            .map(|f| std::fs::read_to_string(f.unwrap().path()).unwrap())
            .collect();
        for line in file()
            .lines()
            .map(|l| serde_json::from_str::<Value>(l).unwrap())
        {
            let from = line["from"].as_str().unwrap();
            // `add_stop_1e3` may be made of a prefix and a size.
            let stem = from.rsplit_once('_').map_or(from, |(stem, _)| stem);
            let spelled = [
                format!("\"{from}\""),
                format!("\"{stem}_\""),
                format!("\"{stem}\""),
            ];
            let go = line["program"].as_str().unwrap().starts_with("bench-go");
            assert!(!go || spelled.iter().any(|s| source.contains(s)), "{from}");
        }
    }

    #[test]
    fn a_peer_that_was_not_built_in_has_rows_that_are_not_run() {
        let entry = |subject: &str, peer: bool| {
            json!({
                "group": "chan", "workload": "spsc_0", "from": "spsc_0", "subject": subject,
                "peer": peer, "unit": "ns", "better": "lower", "procs": "machine",
                "program": "bench-runner",
            })
            .to_string()
        };
        let file = [entry("gchan", false), entry("flume", true)].join("\n");
        let catalogue = Catalogue::new(&file, &entry("gchan", false)).unwrap();
        let programs = Programs::from([("bench-runner".to_owned(), PathBuf::from("runner"))]);
        let turns = catalogue.plan(&options(Peers::All), &programs, 2);
        let able: Vec<_> = turns
            .iter()
            .map(|t| (&*t.rows[0].subject, t.program.is_some()))
            .collect();
        assert_eq!(able, [("gchan", true), ("flume", false)]);
        assert!(turns[1].rows[0].stats.is_none() && turns[1].rows[0].absence() == "not run");
        assert_eq!(catalogue.plan(&options(Peers::None), &programs, 2).len(), 1);
    }

    #[test]
    fn a_run_that_gives_several_figures_is_one_turn_and_turns_of_a_workload_stand_together() {
        let catalogue = Catalogue::new(&file(), "").unwrap();
        let turns = catalogue.plan(&options(Peers::All), &Programs::new(), 2);
        let fires: Vec<&Turn> = turns.iter().filter(|t| t.from == "fire_1e6_p50").collect();
        assert!(
            fires
                .iter()
                .all(|t| t.rows.len() == 3 && t.samples.len() == 3)
        );
        for (i, turn) in turns.iter().enumerate() {
            let last = turns.iter().rposition(|t| t.beside(turn)).unwrap();
            assert!(
                turns[i..=last].iter().all(|t| t.beside(turn)),
                "{}",
                turn.from
            );
        }
    }

    #[test]
    fn rows_are_arranged_by_workload_with_ours_first() {
        let catalogue = Catalogue::new(&file(), "").unwrap();
        let turns = catalogue.plan(&options(Peers::All), &Programs::new(), 2);
        let mut rows: Vec<Row> = turns.into_iter().flat_map(|t| t.rows).collect();
        rows.reverse();
        catalogue.arrange(&mut rows);
        let groups: Vec<&str> = super::super::row::groups(&rows)
            .map(|g| &*g[0].group)
            .collect();
        assert_eq!(groups.len(), GROUPS.len());
        for these in super::super::row::figures(&rows) {
            assert!(!these[0].peer, "{}", these[0].workload);
        }
    }
}
