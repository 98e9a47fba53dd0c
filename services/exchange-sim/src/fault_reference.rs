//! The table of faults for the reference page.

use crate::trading_service::faults::filter_fields;
use crate::trading_service::faults::kinds::{Group, KINDS};

/// Names with their meanings.
pub type Meanings = &'static [(&'static str, &'static str)];

/// A fault as the reference page describes it.
#[derive(Debug, Clone, Copy)]
pub struct FaultReference {
    /// Name in the field `fault`.
    pub name: &'static str,
    /// Effect of the fault.
    pub summary: &'static str,
    /// Fields that only this fault has.
    pub fields: Meanings,
    /// Whether fields of a filter select calls.
    pub is_of_calls: bool,
    /// Whether fields of a filter select frames of streams.
    pub is_of_streams: bool,
    /// Request that arms it.
    pub example: &'static str,
    /// Public documentation or report from which it is known.
    pub source: &'static str,
}

/// All faults by group, each group with its title.
pub fn groups() -> Vec<(&'static str, Vec<FaultReference>)> {
    let of_group = |group: Group| {
        let kinds = KINDS.iter().filter(move |kind| kind.group == group);
        kinds.map(|kind| FaultReference {
            name: kind.name,
            summary: kind.summary,
            fields: kind.fields,
            is_of_calls: kind.group.is_of_calls(),
            is_of_streams: kind.group.is_of_streams(),
            example: kind.example,
            source: kind.source,
        })
    };
    let groups = Group::ALL.into_iter();
    groups
        .map(|group| (group.title(), of_group(group).collect()))
        .collect()
}

/// Fields of the filters.
pub const fn filters() -> Meanings {
    filter_fields()
}
