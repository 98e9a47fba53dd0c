//! Allow table of the proxy: method, path and parameters of every allowed call. All other calls are denied. The module is
//! pure; no text of the caller is passed on: the proxy's own request is built from the parsed call.

use crate::filters::{self, FilterTarget};

/// Longest name or id of a container.
const MAX_ID_LENGTH: usize = 128;
/// Longest query in bytes.
const MAX_QUERY_LENGTH: usize = 4096;
/// Docker's grace period for a stop that names none, in seconds.
const DEFAULT_GRACE: u64 = 10;
/// Longest grace period in seconds.
const MAX_GRACE: u64 = 3_600;
/// Oldest API version; before it, a start could carry a host configuration.
const MIN_API_MINOR: u32 = 24;

/// Endpoint of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// Check whether Docker answers.
    Ping,
    /// Versions of Docker and its components.
    Version,
    /// Host and settings of Docker.
    Info,
    /// Stream of the events of containers.
    Events,
    /// List of the containers of the project.
    List,
    /// Description of a container.
    Inspect,
    /// Log of a container.
    Logs,
    /// Start of a container.
    Start,
    /// Stop of a container.
    Stop,
    /// Signal to a container.
    Kill,
    /// Restart of a container.
    Restart,
}

impl Endpoint {
    /// Whether the call changes something.
    pub const fn is_mutating(self) -> bool {
        matches!(self, Self::Start | Self::Stop | Self::Kill | Self::Restart)
    }

    /// Whether the call is for marked containers only: it changes something, or shows what a container wrote.
    pub const fn needs_control_label(self) -> bool {
        self.is_mutating() || matches!(self, Self::Logs)
    }

    /// Whether the response is a stream without end.
    pub const fn is_streaming(self) -> bool {
        matches!(self, Self::Events | Self::Logs)
    }
}

/// Allowed values of a parameter.
#[derive(Debug, Clone, Copy)]
enum ParameterKind {
    /// 0, 1, true or false.
    Flag,
    /// Only false: true would show more than is allowed.
    FalseOnly,
    /// A whole number of at most nine digits.
    Count,
    /// A grace period in seconds.
    Grace,
    /// A point in time, in one of Docker's notations.
    Instant,
    /// A number of lines.
    Tail,
    /// Name or number of a signal.
    Signal,
    /// Filters in JSON, limited to the project.
    Filters(FilterTarget),
}

/// One row of the table; `{id}` stands for an id, the start of an id, or a name of a container.
struct AllowRule {
    endpoint: Endpoint,
    method: &'static str,
    path: &'static str,
    parameters: &'static [(&'static str, ParameterKind)],
}

const fn rule(
    what: Endpoint,
    method: &'static str,
    path: &'static str,
    parameters: &'static [(&'static str, ParameterKind)],
) -> AllowRule {
    AllowRule {
        endpoint: what,
        method,
        path,
        parameters,
    }
}

const LIST: &[(&str, ParameterKind)] = &[
    ("all", ParameterKind::Flag),
    ("limit", ParameterKind::Count),
    ("size", ParameterKind::Flag),
    ("filters", ParameterKind::Filters(FilterTarget::Containers)),
];
const EVENTS: &[(&str, ParameterKind)] = &[
    ("since", ParameterKind::Instant),
    ("until", ParameterKind::Instant),
    ("filters", ParameterKind::Filters(FilterTarget::Events)),
];
const LOGS: &[(&str, ParameterKind)] = &[
    ("follow", ParameterKind::Flag),
    ("stdout", ParameterKind::Flag),
    ("stderr", ParameterKind::Flag),
    ("since", ParameterKind::Instant),
    ("until", ParameterKind::Instant),
    ("timestamps", ParameterKind::Flag),
    ("tail", ParameterKind::Tail),
    // The variables that a log driver adds.
    ("details", ParameterKind::FalseOnly),
];
const STOP: &[(&str, ParameterKind)] = &[
    ("t", ParameterKind::Grace),
    ("signal", ParameterKind::Signal),
];

/// Allowed calls; a call without a row is denied.
const ALLOWLIST: [AllowRule; 12] = [
    rule(Endpoint::Ping, "GET", "_ping", &[]),
    rule(Endpoint::Ping, "HEAD", "_ping", &[]),
    rule(Endpoint::Version, "GET", "version", &[]),
    rule(Endpoint::Info, "GET", "info", &[]),
    rule(Endpoint::Events, "GET", "events", EVENTS),
    rule(Endpoint::List, "GET", "containers/json", LIST),
    rule(
        Endpoint::Inspect,
        "GET",
        "containers/{id}/json",
        &[("size", ParameterKind::Flag)],
    ),
    rule(Endpoint::Logs, "GET", "containers/{id}/logs", LOGS),
    rule(Endpoint::Start, "POST", "containers/{id}/start", &[]),
    rule(Endpoint::Stop, "POST", "containers/{id}/stop", STOP),
    rule(
        Endpoint::Kill,
        "POST",
        "containers/{id}/kill",
        &[("signal", ParameterKind::Signal)],
    ),
    rule(Endpoint::Restart, "POST", "containers/{id}/restart", STOP),
];

/// A call that matched a row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedRequest {
    /// Endpoint of the call.
    pub endpoint: Endpoint,
    /// GET, HEAD or POST.
    pub method: &'static str,
    /// Container as the caller named it. The proxy resolves it to an id and never passes it on.
    pub container: Option<String>,
    version: Option<String>,
    path: &'static str,
    parameters: Vec<(&'static str, String)>,
}

impl AllowedRequest {
    /// The proxy's own request target for the call, for the container with this full id.
    pub fn request_target(&self, id: &str) -> String {
        let version = self.version_prefix();
        let path = self.path.replace("{id}", id);
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(&self.parameters);
        match query.finish() {
            query if query.is_empty() => format!("{version}/{path}"),
            query => format!("{version}/{path}?{query}"),
        }
    }

    /// Version of the API that the caller uses, as the beginning of a path; empty if the caller names none.
    pub fn version_prefix(&self) -> &str {
        self.version.as_deref().unwrap_or_default()
    }

    /// Grace period of the call in seconds, else `container_grace`, else ten.
    pub fn grace(&self, container_grace: Option<u64>) -> u64 {
        let given = self.parameters.iter().find(|(name, _)| *name == "t");
        let given = given.and_then(|(_, value)| value.parse().ok());
        given
            .or(container_grace)
            .unwrap_or(DEFAULT_GRACE)
            .clamp(0, MAX_GRACE)
    }
}

/// Parses a request by the table. Lists and events are limited to this project, whatever the caller requested.
///
/// # Errors
/// Reason for the denial, as a short phrase.
pub fn match_request(
    method: &str,
    path: &str,
    query: Option<&str>,
    project: &str,
) -> Result<AllowedRequest, String> {
    let (version, path) = split_version(path)?;
    let of_path = ALLOWLIST
        .iter()
        .filter_map(|rule| Some((rule, match_path(rule.path, path)?)));
    let (rule, named) = of_path
        .into_iter()
        .find(|(rule, _)| rule.method == method)
        .ok_or("this call is not on the list")?;
    Ok(AllowedRequest {
        endpoint: rule.endpoint,
        method: rule.method,
        container: (!named.is_empty()).then(|| named.to_owned()),
        version: version.map(|version| format!("/{version}")),
        path: rule.path,
        parameters: parse_parameters(rule.parameters, query.unwrap_or_default(), project)?,
    })
}

/// Splits `/v1.41/info` into version `v1.41` and `info`.
fn split_version(path: &str) -> Result<(Option<&str>, &str), String> {
    let path = path.strip_prefix('/').ok_or("a path begins with /")?;
    let Some((first, rest)) = path.split_once('/') else {
        return Ok((None, path));
    };
    let Some(minor) = first.strip_prefix("v1.") else {
        return Ok((None, path));
    };
    let known = (2..=3).contains(&minor.len()) && minor.bytes().all(|b| b.is_ascii_digit());
    let number = minor.parse().ok().filter(|_| known);
    match number {
        Some(MIN_API_MINOR..) => Ok((Some(first), rest)),
        _ => Err(format!("expected a version from v1.{MIN_API_MINOR} on")),
    }
}

/// Container that a path names; `Some(None)` where the rule has none; `None` if the path does not match the rule.
fn match_path<'a>(rule: &str, path: &'a str) -> Option<&'a str> {
    match rule.split_once("{id}") {
        None => (rule == path).then_some(""),
        Some((before, after)) => {
            let name = path.strip_prefix(before)?.strip_suffix(after)?;
            is_container_name(name).then_some(name)
        }
    }
}

/// Whether the text can name a container: nothing that has a meaning in a path or a query.
fn is_container_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    (1..=MAX_ID_LENGTH).contains(&text.len())
        && text.bytes().all(allowed)
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
}

fn parse_parameters(
    known: &[(&'static str, ParameterKind)],
    query: &str,
    project: &str,
) -> Result<Vec<(&'static str, String)>, String> {
    if query.len() > MAX_QUERY_LENGTH {
        return Err(format!("a query has at most {MAX_QUERY_LENGTH} bytes"));
    }
    let mut read: Vec<(&'static str, String)> = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let (name, kind) = known
            .iter()
            .find(|(known, _)| *known == name)
            .ok_or_else(|| format!("parameter {name:?} is not on the list"))?;
        if read.iter().any(|(earlier, _)| earlier == name) {
            return Err(format!("parameter {name} is there twice"));
        }
        let value = check_value(*kind, &value, project)
            .ok_or_else(|| format!("{name}={value:?} is not allowed"))?;
        read.push((name, value));
    }
    force_filters(known, &mut read, project);
    Ok(read)
}

/// Adds the project filter to a call without filters.
fn force_filters(
    known: &[(&'static str, ParameterKind)],
    read: &mut Vec<(&'static str, String)>,
    project: &str,
) {
    for (name, kind) in known {
        let missing = read.iter().all(|(given, _)| given != name);
        if let (ParameterKind::Filters(subject), true) = (kind, missing) {
            read.push((name, filters::project_only(*subject, project)));
        }
    }
}

/// The value as it is passed on; `None` if it is not allowed.
fn check_value(kind: ParameterKind, value: &str, project: &str) -> Option<String> {
    let only = |most: usize, allowed: fn(u8) -> bool| {
        (1..=most).contains(&value.len()) && value.bytes().all(allowed)
    };
    let fits = match kind {
        ParameterKind::Flag => matches!(value, "0" | "1" | "true" | "false"),
        ParameterKind::FalseOnly => matches!(value, "0" | "false"),
        ParameterKind::Count => only(9, |b| b.is_ascii_digit()),
        ParameterKind::Grace => {
            only(4, |b| b.is_ascii_digit())
                && value.parse().is_ok_and(|secs: u64| secs <= MAX_GRACE)
        }
        ParameterKind::Instant => only(40, |b| {
            b.is_ascii_alphanumeric() || matches!(b, b'.' | b':' | b'+' | b'-')
        }),
        ParameterKind::Tail => value == "all" || only(9, |b| b.is_ascii_digit()),
        ParameterKind::Signal => only(12, |b| {
            b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-')
        }),
        ParameterKind::Filters(subject) => return filters::parse(subject, value, project),
    };
    fits.then(|| value.to_owned())
}
