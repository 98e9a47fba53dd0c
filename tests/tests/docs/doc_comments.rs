//! Doc comments of the wire's types, read from the source: the compiler does not keep them.

/// A variant of an enum, or a constant, with its doc comment.
pub(crate) struct Item {
    /// Name in the source.
    pub(crate) name: String,
    /// Its doc comment in one line.
    pub(crate) docs: String,
    /// Its fields: name, type, doc comment.
    pub(crate) fields: Vec<(String, String, String)>,
}

/// The variants of `pub enum NAME` in a source file that rustfmt has formatted.
pub(crate) fn variants(source: &str, name: &str) -> Vec<Item> {
    let start = source.find(&format!("pub enum {name} {{\n")).unwrap();
    let body = source[start..].lines().skip(1);
    let mut items: Vec<Item> = Vec::new();
    let mut docs = String::new();
    for line in body.take_while(|line| *line != "}") {
        let text = line.trim();
        let is_field = line.starts_with("        ");
        if let Some(doc) = text.strip_prefix("///") {
            docs = join(docs, doc);
        } else if is_field && let Some((name, kind)) = text.split_once(": ") {
            let kind = kind.trim_end_matches(',').to_owned();
            let field = (name.to_owned(), kind, std::mem::take(&mut docs));
            items.last_mut().unwrap().fields.push(field);
        } else if !is_field && text.starts_with(|c: char| c.is_ascii_uppercase()) {
            let end = text.find(|c: char| !c.is_alphanumeric()).unwrap();
            items.push(Item {
                name: text[..end].to_owned(),
                docs: std::mem::take(&mut docs),
                fields: Vec::new(),
            });
        }
    }
    assert!(!items.is_empty(), "no variants of {name}");
    items
}

/// The doc comment of `pub const NAME`, in one line.
pub(crate) fn constant(source: &str, name: &str) -> String {
    let end = source.find(&format!("pub const {name}:")).unwrap();
    let before = source[..end].lines().rev();
    let docs: Vec<&str> = before
        .map_while(|line| line.trim().strip_prefix("///"))
        .collect();
    docs.into_iter().rev().fold(String::new(), join)
}

fn join(docs: String, line: &str) -> String {
    let line = line.trim();
    if docs.is_empty() {
        line.to_owned()
    } else {
        docs + " " + line
    }
}
