// SPDX-License-Identifier: GPL-2.0

//! All tests, each in a process of its own, as KTAP.

#![forbid(unsafe_code)]

use crate::{
    defects::DEFECTS,
    explore::{explore, Outcome},
    machine::{Loads, TRACE},
    program::PROGRAMS,
    scenarios,
    stage::Bound,
};
use std::{
    env,
    process::Command,
    sync::{
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::Duration,
};

/// Seconds in which a scenario must be explored, or a defect caught; and in which the long mode gets as
/// far as it gets.
const QUICK: u64 = 120;
const LONG: u64 = 30;
/// Preemptions tried for defects, one after the other: most are shallow.
const DEPTHS: [Bound; 4] = [Some(1), Some(2), Some(3), None];
/// What loom says of a loop that does not end: no proof of anything.
const ENDLESS: &str = "Model exceeded maximum number of branches";

#[derive(Default)]
pub(crate) struct Options {
    long: bool,
    only: String,
    seconds: Option<u64>,
}

impl Options {
    pub(crate) fn from(words: &[&str]) -> Option<Self> {
        match *words {
            [] => Some(Self::default()),
            ["--long", ref rest @ ..] => Some(Self {
                long: true,
                ..Self::from(rest)?
            }),
            ["--only", text, ref rest @ ..] => Some(Self {
                only: text.into(),
                ..Self::from(rest)?
            }),
            ["--seconds", n, ref rest @ ..] => Some(Self {
                seconds: Some(n.parse().ok()?),
                ..Self::from(rest)?
            }),
            _ => None,
        }
    }
}

/// A scenario, or (defect, scenario).
#[derive(Clone)]
struct Test {
    defect: Option<&'static str>,
    scenario: &'static str,
    /// One after the other, until a defect is caught.
    explorations: Vec<(Loads, Bound)>,
}

impl Test {
    /// As `one` takes it.
    fn id(&self) -> String {
        match self.defect {
            Some(defect) => format!("{defect}: {}", self.scenario),
            None => self.scenario.into(),
        }
    }

    fn name(&self) -> String {
        match self.defect {
            Some(defect) => format!("loom catches {defect} in: {}", self.scenario),
            None => format!("loom {}", self.scenario),
        }
    }
}

fn tests(options: &Options) -> Vec<Test> {
    let mut tests: Vec<Test> = Vec::new();
    for scenario in scenarios::all() {
        let bound = if options.long {
            scenario.long
        } else {
            scenario.quick
        };
        // The old words multiply what there is to explore.
        let fewer = if options.long {
            bound
        } else {
            bound.map(|preemptions| preemptions - 1)
        };
        tests.push(Test {
            defect: None,
            scenario: scenario.name,
            explorations: vec![(Loads::Newest, bound), (Loads::Any, fewer)],
        });
    }
    // Found quickly or not at all.
    for defect in DEFECTS.iter().copied().flatten().filter(|_| !options.long) {
        for scenario in defect.caught_by {
            tests.push(Test {
                defect: Some(defect.name),
                scenario,
                explorations: DEPTHS.map(|bound| (Loads::Newest, bound)).to_vec(),
            });
        }
    }
    let mut names: Vec<String> = tests.iter().map(Test::id).collect();
    names.sort();
    names.windows(2).for_each(|two| assert_ne!(two[0], two[1]));
    tests.retain(|test| test.id().contains(&options.only));
    tests
}

/// Runs all tests, on all processors, and prints what came of them.
pub(crate) fn run(options: &Options) -> bool {
    let tests = tests(options);
    let limit = options
        .seconds
        .unwrap_or(if options.long { LONG } else { QUICK });
    println!("1..{}", tests.len());
    let next = AtomicUsize::new(0);
    let (send, receive) = mpsc::channel();
    let mut all = true;
    thread::scope(|scope| {
        let processors = thread::available_parallelism().map_or(1, |n| n.get());
        for _ in 0..processors {
            let (send, next, tests) = (send.clone(), &next, &tests);
            scope.spawn(move || loop {
                let index = next.fetch_add(1, Relaxed);
                let Some(test) = tests.get(index) else {
                    break;
                };
                send.send((index, judge(test, limit, options.long)))
                    .unwrap();
            });
        }
        drop(send);
        let mut done = vec![None; tests.len()];
        let mut shown = 0;
        for (index, result) in receive {
            done[index] = Some(result);
            while let Some((ok, text)) = done.get_mut(shown).and_then(Option::take) {
                let verdict = if ok { "ok" } else { "not ok" };
                print!("{text}");
                println!("{verdict} {} {}", shown + 1, tests[shown].name());
                all &= ok;
                shown += 1;
            }
        }
    });
    all
}

fn judge(test: &Test, limit: u64, long: bool) -> (bool, String) {
    let mut text = String::new();
    for &(loads, bound) in &test.explorations {
        let explore = |trace| child(&test.id(), loads, bound, limit, trace);
        let said = explore(false);
        text += &format!("# {said}\n");
        let failed = said.starts_with("fails");
        if test.defect.is_some() {
            if failed && !said.contains(ENDLESS) {
                return (true, text);
            }
        } else if failed {
            // Once more, to show how.
            text.extend(explore(true).lines().map(|line| format!("#   {line}\n")));
            return (false, text);
        } else if !said.starts_with("holds") && !(long && said.starts_with("cut")) {
            return (false, text);
        }
    }
    (test.defect.is_none(), text)
}

fn child(id: &str, loads: Loads, bound: Bound, limit: u64, trace: bool) -> String {
    let bound = bound.map_or("none".into(), |n| n.to_string());
    let mut command = Command::new(env::current_exe().expect("a program has a path"));
    let loads = format!("{loads:?}").to_lowercase();
    command.args(["one", id, &loads, &bound, &limit.to_string()]);
    command.args(trace.then_some("trace"));
    let output = command.output().expect("it ran once already");
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if said.is_empty() {
        format!("died: {}", String::from_utf8_lossy(&output.stderr).trim())
    } else {
        said
    }
}

/// The child: one exploration, in one line.
pub(crate) fn one(test: &str, loads: &str, bound: &str, seconds: &str, trace: bool) -> bool {
    let find = |name: &str| scenarios::all().find(|scenario| scenario.name == name);
    let (defect, scenario) = match find(test) {
        Some(scenario) => ("", Some(scenario)),
        None => {
            let (defect, name) = test.split_once(": ").unwrap_or(("", test));
            (defect, find(name))
        }
    };
    let program = PROGRAMS.iter().find(|program| program.defect == defect);
    let (Some(scenario), Some(program)) = (scenario, program) else {
        eprintln!("no such test: {test}");
        return false;
    };
    let limit = Duration::from_secs(seconds.parse().unwrap_or(QUICK));
    let depth = bound.parse().ok();
    let which = if loads == "any" {
        Loads::Any
    } else {
        Loads::Newest
    };
    let outcome = explore(*scenario, program.calls, which, depth, limit, trace);
    let Outcome {
        failed,
        executions,
        time,
        complete,
    } = outcome;
    let verdict = match (&failed, complete) {
        (Some(_), _) => "fails",
        (None, true) => "holds",
        (None, false) => "cut",
    };
    let seconds = time.as_secs_f64();
    let why = failed.as_deref().unwrap_or("");
    println!("{verdict}, {loads} loads, preemptions {bound}, {executions} executions, {seconds:.1} s {why}");
    if failed.is_some() {
        for line in TRACE.take().unwrap_or_default() {
            println!("{line}");
        }
    }
    failed.is_none()
}
