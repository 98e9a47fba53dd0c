//! The page about faults of the simulated exchange, made from its table of faults.

use std::fmt::Write;

use exchange_sim::fault_reference::{FaultReference, filters, groups};

use crate::reference::{cell, heading, wrap};

/// Page of faults of the simulated exchange.
pub(crate) fn page() -> String {
    let mut page = heading(
        "Faults of the simulated exchange",
        "Faults are armed over `POST /sim/fault`, listed by `GET` and cleared by `DELETE`:\n\
         [guide](../guide/simulated-exchange.md#faults). Each fault names the documentation or the report from which it is known.",
    );
    page += "\n## Filters\n\nFields of a request beside those of the fault. `method` and `path` are possible for faults of calls, `to` and `event`\n\
             for faults of streams.\n";
    table(&mut page, filters());
    for (title, faults) in groups() {
        if faults.is_empty() {
            continue;
        }
        write!(page, "\n## {title}\n").unwrap();
        for fault in &faults {
            describe(&mut page, fault);
        }
    }
    page
}

fn describe(page: &mut String, fault: &FaultReference) {
    write!(page, "\n### `{}`\n\n{}\n", fault.name, wrap(fault.summary)).unwrap();
    let filters = match (fault.is_of_calls, fault.is_of_streams) {
        (true, true) => "calls, or frames of streams with `to`",
        (true, false) => "calls",
        (false, true) => "frames of streams",
        (false, false) => "none",
    };
    if !fault.fields.is_empty() {
        table(page, fault.fields);
    }
    write!(page, "\nFilters: {filters}.\n").unwrap();
    write!(page, "\n```json\n{}\n```\n", fault.example).unwrap();
    write!(page, "\n{}\n", wrap(&format!("Source: {}.", fault.source))).unwrap();
}

fn table(page: &mut String, rows: &[(&str, &str)]) {
    page.push_str("\n| field | meaning |\n| --- | --- |\n");
    for (name, meaning) in rows {
        writeln!(page, "| `{name}` | {} |", cell(meaning)).unwrap();
    }
}
