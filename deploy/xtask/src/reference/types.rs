//! Types as their sources describe them: the fields of a structure or the names of an enumeration, as serde writes them, with their
//! doc comments.
//!
//! It knows as much of serde as the types of this workspace use: `rename_all` of enumerations, and fields that are left out.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use syn::{Attribute, Expr, Field, Fields, GenericArgument, Item, Lit, PathArguments, Type};

/// A type that is written as JSON.
pub(super) struct Described {
    pub(super) name: String,
    pub(super) doc: String,
    pub(super) entries: Vec<Entry>,
}

/// A field, or a name.
pub(super) struct Entry {
    pub(super) name: String,
    /// In words; none of a name.
    pub(super) kind: Option<String>,
    pub(super) doc: String,
}

/// Reads the type `name` from the file `path` below `root`.
pub(super) fn describe(root: &Path, path: &str, name: &str) -> Result<Described> {
    let text = fs::read_to_string(root.join(path)).with_context(|| format!("cannot read {path}"))?;
    let file = syn::parse_file(&text).with_context(|| format!("cannot parse {path}"))?;
    for item in &file.items {
        match item {
            Item::Struct(item) if item.ident == name => {
                let Fields::Named(fields) = &item.fields else {
                    bail!("{name} of {path} has no named fields");
                };
                let entries = fields.named.iter().map(field).collect::<Result<_>>();
                return Ok(Described {
                    name: name.to_owned(),
                    doc: doc(&item.attrs),
                    entries: entries.with_context(|| format!("{name} of {path}"))?,
                });
            }
            Item::Enum(item) if item.ident == name => {
                let case = serde(&item.attrs)?.rename_all;
                let case = case.with_context(|| format!("{name} of {path} has no rename_all"))?;
                let entry = |variant: &syn::Variant| Entry {
                    name: renamed(&variant.ident.to_string(), &case),
                    kind: None,
                    doc: doc(&variant.attrs),
                };
                return Ok(Described {
                    name: name.to_owned(),
                    doc: doc(&item.attrs),
                    entries: item.variants.iter().map(entry).collect(),
                });
            }
            _ => {}
        }
    }
    bail!("{path} holds no type {name}")
}

fn field(field: &Field) -> Result<Entry> {
    let name = field.ident.as_ref().context("a field has a name")?.to_string();
    let serde = serde(&field.attrs)?;
    let doc = doc(&field.attrs);
    ensure!(!doc.is_empty(), "the field {name} has no documentation");
    let (kind, is_optional) = kind(&field.ty).with_context(|| format!("the field {name}"))?;
    let kind = match (is_optional, serde.is_left_out) {
        (false, false) => kind,
        (true, false) => format!("{kind}, or null"),
        (_, true) => format!("{kind}; may be absent"),
    };
    Ok(Entry {
        name,
        kind: Some(kind),
        doc,
    })
}

/// A type in words, and whether there may be none.
fn kind(ty: &Type) -> Result<(String, bool)> {
    Ok(match ty {
        Type::Reference(inner) => return kind(&inner.elem),
        Type::Array(array) => (format!("array of {}", kind(&array.elem)?.0), false),
        Type::Slice(slice) => (format!("array of {}", kind(&slice.elem)?.0), false),
        Type::Tuple(tuple) => {
            let kinds: Result<Vec<String>> = tuple.elems.iter().map(|ty| Ok(kind(ty)?.0)).collect();
            (format!("[{}]", kinds?.join(", ")), false)
        }
        Type::Path(path) => {
            let last = path.path.segments.last().context("a path has an end")?;
            let inner = match &last.arguments {
                PathArguments::AngleBracketed(arguments) => {
                    arguments.args.iter().find_map(|argument| match argument {
                        GenericArgument::Type(ty) => Some(ty),
                        _ => None,
                    })
                }
                _ => None,
            };
            match (last.ident.to_string().as_str(), inner) {
                ("Option", Some(inner)) => (kind(inner)?.0, true),
                ("Vec", Some(inner)) => (format!("array of {}", kind(inner)?.0), false),
                ("Range", Some(_)) => ("`{\"start\", \"end\"}`".to_owned(), false),
                (name, _) => (named(name).to_owned(), false),
            }
        }
        _ => bail!("a type of another kind"),
    })
}

fn named(name: &str) -> &str {
    match name {
        "u32" | "u64" | "Rank" | "DeviceIndex" | "Generation" | "Step" => "whole number",
        "f64" => "number",
        "bool" => "true or false",
        "String" | "MachineName" | "CheckpointName" => "text",
        "Timestamp" => "milliseconds since 1970, UTC",
        "Duration" => "`{\"secs\", \"nanos\"}`",
        // Another type of the page.
        other => other,
    }
}

#[derive(Default)]
struct Serde {
    rename_all: Option<String>,
    is_left_out: bool,
}

fn serde(attributes: &[Attribute]) -> Result<Serde> {
    let mut found = Serde::default();
    for attribute in attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("serde"))
    {
        attribute.parse_nested_meta(|meta| {
            let value = match meta.value() {
                Ok(value) => Some(value.parse::<syn::LitStr>()?.value()),
                Err(_) => None,
            };
            if meta.path.is_ident("rename_all") {
                found.rename_all = value;
            } else if meta.path.is_ident("skip_serializing_if") {
                found.is_left_out = true;
            } else if !["default", "transparent", "deny_unknown_fields", "with"]
                .iter()
                .any(|name| meta.path.is_ident(name))
            {
                return Err(meta.error("the reference does not know this attribute of serde"));
            }
            Ok(())
        })?;
    }
    Ok(found)
}

fn renamed(variant: &str, case: &str) -> String {
    let mut text = String::new();
    for (i, letter) in variant.chars().enumerate() {
        if case == "snake_case" && i > 0 && letter.is_uppercase() {
            text.push('_');
        }
        text.extend(letter.to_lowercase());
    }
    text
}

/// A doc comment in one line, without links.
fn doc(attributes: &[Attribute]) -> String {
    let line = |attribute: &Attribute| -> Option<String> {
        let pair = attribute.meta.require_name_value().ok()?;
        let Expr::Lit(literal) = &pair.value else {
            return None;
        };
        let Lit::Str(text) = &literal.lit else { return None };
        pair.path.is_ident("doc").then(|| text.value().trim().to_owned())
    };
    let lines: Vec<String> = attributes.iter().filter_map(line).collect();
    let text = lines.join(" ").replace("[`", "`").replace("`]", "`");
    // What is left of a link with a target: `name`(target).
    let mut parts = text.split("`(");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push('`');
        plain.push_str(part.split_once(')').map_or(part, |(_, rest)| rest));
    }
    plain
}
