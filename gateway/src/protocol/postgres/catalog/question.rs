//! The question that is put to the server.
//!
//! In: labels. Out: one SELECT over `pg_catalog`. Every name in it is qualified, operators too: nothing on the client's
//! search path, nor anything that it made, can change what it means.

use crate::masking::file::{ColumnPattern, Glob};
use crate::masking::rules::Labels;
use crate::protocol::postgres::sql::functions::YOUNG;

/// Columns of each row of the answer.
pub(in crate::protocol::postgres) const WIDTH: usize = 9;

/// Relations of the server that hold values of others, or statements with constants: wholly, or in these columns.
const REVEALING: &[(&str, &[&str])] = &[
    ("pg_largeobject", &["data"]),
    ("pg_stat_activity", &["query"]),
    ("pg_stat_statements", &["query"]),
    ("pg_statistic", &[]),
    ("pg_statistic_ext_data", &[]),
    ("pg_stats", &[]),
    ("pg_stats_ext", &[]),
    ("pg_stats_ext_exprs", &[]),
];

/// Names before these in `pg_stats` and its kin say of which column a row is.
const NAMES: &[&str] =
    &["schemaname", "tablename", "attname", "inherited", "starelid", "staattnum", "stainherit", "stxoid"];

/// Whether a relation of that name may hold what labels hide.
pub(super) fn is_revealing(relation: &str) -> bool {
    REVEALING.iter().any(|(name, _)| *name == relation)
}

/// Whether a column of such a relation does.
pub(super) fn reveals(relation: &str, column: &str) -> bool {
    let columns = REVEALING.iter().find(|(name, _)| *name == relation).map(|(_, columns)| *columns);
    columns.is_some_and(|columns| columns.contains(&column) || (columns.is_empty() && !NAMES.contains(&column)))
}

/// Asks for the closure of labelled relations. `known` are relations that carried a label before under another name.
#[must_use]
pub fn question(labels: &Labels, known: &[u32]) -> String {
    let patterns = labels.columns.iter().map(|(pattern, _)| pattern);
    let patterns = patterns.chain(labels.exceptions.iter().map(|(pattern, _)| pattern));
    let mut seeds: Vec<String> = patterns.map(seed).collect();
    seeds.sort();
    seeds.dedup();
    let revealing: Vec<_> = REVEALING.iter().map(|(name, _)| *name).collect();
    seeds.push(format!("c.relname OPERATOR(pg_catalog.=) ANY ('{{{}}}'::pg_catalog.name[])", revealing.join(",")));
    if !known.is_empty() {
        let known: Vec<_> = known.iter().map(u32::to_string).collect();
        seeds.push(format!("c.oid OPERATOR(pg_catalog.=) ANY ('{{{}}}'::pg_catalog.oid[])", known.join(",")));
    }
    QUESTION.replace("SEEDS", &seeds.join(" OR ")).replace("CALLS\n", &calls())
}

/// Asks, where nothing is labelled, for calls alone that a text does not show.
#[must_use]
pub fn question_of_calls() -> String {
    format!(
        "WITH answer(kind, a, b, c, d, e, f, g, h) AS (\n{calls}  UNION ALL\n{newest})\n{ANSWER}",
        calls = calls(),
        newest = "  SELECT 'newest', '0', pg_catalog.getdatabaseencoding()::pg_catalog.text, NULL, NULL, NULL, NULL, NULL, NULL"
    )
}

fn calls() -> String {
    CALLS.replace("YOUNG", &YOUNG.split_ascii_whitespace().collect::<Vec<_>>().join(","))
}

fn seed(pattern: &ColumnPattern) -> String {
    let [schema, relation, _] = pattern.names();
    format!("({} AND {})", condition("n.nspname", schema), condition("c.relname", relation))
}

fn condition(name: &str, glob: &Glob) -> String {
    let escape = |part: &String| part.replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_");
    let pattern = || glob.parts().iter().map(escape).collect::<Vec<_>>().join("%");
    // Neither the session's encoding nor the database's may have the characters: then no name there is that.
    let in_bytes = |operator: &str, text: &str| {
        let digits: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        format!(
            "pg_catalog.convert_to({name}::pg_catalog.text, 'UTF8') OPERATOR(pg_catalog.{operator}) \
             '\\x{digits}'::pg_catalog.bytea"
        )
    };
    match glob.parts() {
        [whole] if whole.is_ascii() => format!("{name} OPERATOR(pg_catalog.=) {}::pg_catalog.name", literal(whole)),
        [whole] => in_bytes("=", whole),
        parts if parts.iter().all(|part| part.is_ascii()) => {
            format!("{name}::pg_catalog.text OPERATOR(pg_catalog.~~) {}::pg_catalog.text", literal(&pattern()))
        }
        _ => in_bytes("~~", &pattern()),
    }
}

/// A constant; `standard_conforming_strings` is pinned.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Relations that can hold rows for a result: tables, partitioned ones, views, materialized views, foreign tables.
/// Rules of views are those ON SELECT (`ev_type` 1); what they read is in pg_depend, by column.
///
/// What a generated column is computed from stands with its default, and before 15 with the column (StoreAttrDefault,
/// pg_attrdef.c and heap.c).
///
/// With them come a relation with another rule that reads one of them, one with a column of their row type, and a view
/// that calls a function of somebody's that is neither C nor immutable, so that it may read anything; operators of such
/// functions too, types to which one casts, and domains that check by one. A function of one row or of any type (`typtype` c and p) can be called as `row.name`. What the server
/// brought has a number below 16384 (FirstNormalObjectId, transam.h). Of a toast table only what it stores comes,
/// `chunk_data`, its third column (create_toast_table, toasting.c).
const QUESTION: &str = r#"WITH RECURSIVE
seed(relid) AS (
  SELECT c.oid FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
  WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,v,m,f}'::pg_catalog."char"[]) AND (SEEDS)),
calling(relid) AS (
  SELECT w.ev_class FROM pg_catalog.pg_depend d
  JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) d.refobjid
  JOIN pg_catalog.pg_language g ON g.oid OPERATOR(pg_catalog.=) p.prolang
  JOIN pg_catalog.pg_rewrite w ON w.oid OPERATOR(pg_catalog.=) d.objid
  WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
    AND d.refobjid OPERATOR(pg_catalog.>=) '16384'::pg_catalog.oid
    AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass
    AND g.lanname OPERATOR(pg_catalog.<>) ALL ('{internal,c}'::pg_catalog.name[])
    AND p.provolatile OPERATOR(pg_catalog.<>) 'i'::pg_catalog."char"),
closure(relid) AS (
  SELECT relid FROM seed
  UNION
  SELECT relid FROM calling
  UNION
  SELECT e.relid FROM closure l CROSS JOIN LATERAL (
    SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent OPERATOR(pg_catalog.=) l.relid
    UNION ALL
    SELECT i.inhparent FROM pg_catalog.pg_inherits i WHERE i.inhrelid OPERATOR(pg_catalog.=) l.relid
    UNION ALL
    SELECT r.reltoastrelid FROM pg_catalog.pg_class r
    WHERE r.oid OPERATOR(pg_catalog.=) l.relid AND r.reltoastrelid OPERATOR(pg_catalog.<>) '0'::pg_catalog.oid
    UNION ALL
    SELECT w.ev_class FROM pg_catalog.pg_depend d
    JOIN pg_catalog.pg_rewrite w ON w.oid OPERATOR(pg_catalog.=) d.objid
    WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
      AND d.refobjid OPERATOR(pg_catalog.=) l.relid
      AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass
    UNION ALL
    SELECT d.objid FROM pg_catalog.pg_class r
    JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) r.reltype
    JOIN pg_catalog.pg_depend d ON d.refobjid OPERATOR(pg_catalog.=) ANY (ARRAY[t.oid, t.typarray])
    WHERE r.oid OPERATOR(pg_catalog.=) l.relid
      AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass
      AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
      AND d.objsubid OPERATOR(pg_catalog.>) 0) e(relid)),
answer(kind, a, b, c, d, e, f, g, h) AS (
  SELECT 'column', c.oid::pg_catalog.text, n.nspname::pg_catalog.text, c.relname::pg_catalog.text,
    a.attnum::pg_catalog.text, a.attname::pg_catalog.text, a.atttypid::pg_catalog.text,
    a.attgenerated::pg_catalog.text, c.relkind::pg_catalog.text
  FROM closure l JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) l.relid
  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
  JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) c.oid
  WHERE a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
    AND (c.relkind OPERATOR(pg_catalog.<>) 't'::pg_catalog."char" OR a.attnum OPERATOR(pg_catalog.=) 3)
  UNION ALL
  SELECT 'stores', r.reltoastrelid::pg_catalog.text, r.oid::pg_catalog.text, NULL, NULL, NULL, NULL, NULL, NULL
  FROM closure l JOIN pg_catalog.pg_class r ON r.oid OPERATOR(pg_catalog.=) l.relid
  WHERE r.reltoastrelid OPERATOR(pg_catalog.<>) '0'::pg_catalog.oid
  UNION ALL
  SELECT 'inherits', i.inhrelid::pg_catalog.text, i.inhparent::pg_catalog.text, NULL, NULL, NULL, NULL, NULL, NULL
  FROM closure l JOIN pg_catalog.pg_inherits i ON i.inhparent OPERATOR(pg_catalog.=) l.relid
  UNION ALL
  SELECT 'reads', w.ev_class::pg_catalog.text, d.refobjid::pg_catalog.text, d.refobjsubid::pg_catalog.text,
    NULL, NULL, NULL, NULL, NULL
  FROM closure l JOIN pg_catalog.pg_depend d ON d.refobjid OPERATOR(pg_catalog.=) l.relid
    AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
    AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass
  JOIN pg_catalog.pg_rewrite w ON w.oid OPERATOR(pg_catalog.=) d.objid
  WHERE w.ev_type OPERATOR(pg_catalog.=) '1'::pg_catalog."char"
    AND w.ev_class OPERATOR(pg_catalog.<>) d.refobjid
  UNION ALL
  SELECT 'computes', f.adrelid::pg_catalog.text, f.adnum::pg_catalog.text, d.refobjsubid::pg_catalog.text,
    NULL, NULL, NULL, NULL, NULL
  FROM closure l JOIN pg_catalog.pg_attrdef f ON f.adrelid OPERATOR(pg_catalog.=) l.relid
  JOIN pg_catalog.pg_depend d ON d.objid OPERATOR(pg_catalog.=) f.oid
    AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_attrdef'::pg_catalog.regclass
    AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
    AND d.refobjid OPERATOR(pg_catalog.=) f.adrelid
  WHERE d.refobjsubid OPERATOR(pg_catalog.>) 0 AND d.refobjsubid OPERATOR(pg_catalog.<>) f.adnum
  UNION ALL
  SELECT 'computes', d.objid::pg_catalog.text, d.objsubid::pg_catalog.text, d.refobjsubid::pg_catalog.text,
    NULL, NULL, NULL, NULL, NULL
  FROM closure l JOIN pg_catalog.pg_depend d ON d.objid OPERATOR(pg_catalog.=) l.relid
    AND d.refobjid OPERATOR(pg_catalog.=) l.relid
    AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
    AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
  WHERE d.objsubid OPERATOR(pg_catalog.>) 0 AND d.refobjsubid OPERATOR(pg_catalog.>) 0
    AND d.refobjsubid OPERATOR(pg_catalog.<>) d.objsubid
  UNION ALL
  SELECT 'holds', d.objid::pg_catalog.text, d.objsubid::pg_catalog.text, l.relid::pg_catalog.text,
    NULL, NULL, NULL, NULL, NULL
  FROM closure l JOIN pg_catalog.pg_class r ON r.oid OPERATOR(pg_catalog.=) l.relid
  JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) r.reltype
  JOIN pg_catalog.pg_depend d ON d.refobjid OPERATOR(pg_catalog.=) ANY (ARRAY[t.oid, t.typarray])
    AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass
    AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
  WHERE d.objsubid OPERATOR(pg_catalog.>) 0
  UNION ALL
  SELECT DISTINCT 'calls', relid::pg_catalog.text, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM calling
  UNION ALL
  SELECT DISTINCT 'rule', w.ev_class::pg_catalog.text, NULL, NULL, NULL, NULL, NULL, NULL, NULL
  FROM closure l JOIN pg_catalog.pg_rewrite w ON w.ev_class OPERATOR(pg_catalog.=) l.relid
  WHERE w.ev_type OPERATOR(pg_catalog.<>) '1'::pg_catalog."char"
  UNION ALL
  SELECT 'view', c.oid::pg_catalog.text, pg_catalog.pg_get_viewdef(c.oid), NULL, NULL, NULL, NULL, NULL, NULL
  FROM closure l JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) l.relid
  WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{v,m}'::pg_catalog."char"[])
    AND NOT c.relnamespace OPERATOR(pg_catalog.=) 'pg_catalog'::pg_catalog.regnamespace
  UNION ALL
CALLS
  UNION ALL
  SELECT 'newest', pg_catalog.max(c.oid)::pg_catalog.text, pg_catalog.getdatabaseencoding()::pg_catalog.text,
    NULL, NULL, NULL, NULL, NULL, NULL
  FROM pg_catalog.pg_class c)
SELECT kind, a, b, c, d, e, f, g, h FROM answer ORDER BY 1, 2, 3, 4, 5"#;

/// Functions that can be called as if they were a column, an operator or a type, or by the name of one of the server's,
/// where their arguments fit better or the search path comes to them first (func_get_detail, parse_func.c).
const CALLS: &str = r#"  SELECT DISTINCT 'function', p.proname::pg_catalog.text, NULL, NULL, NULL, NULL, NULL, NULL, NULL
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) p.proargtypes[0]
  WHERE p.oid OPERATOR(pg_catalog.>=) '16384'::pg_catalog.oid
    AND p.pronargs OPERATOR(pg_catalog.-) p.pronargdefaults OPERATOR(pg_catalog.<=) 1
    AND t.typtype OPERATOR(pg_catalog.=) ANY ('{c,p}'::pg_catalog."char"[])
  UNION ALL
  SELECT DISTINCT 'function', p.proname::pg_catalog.text, NULL, NULL, NULL, NULL, NULL, NULL, NULL
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language g ON g.oid OPERATOR(pg_catalog.=) p.prolang
  WHERE p.oid OPERATOR(pg_catalog.>=) '16384'::pg_catalog.oid
    AND g.lanname OPERATOR(pg_catalog.<>) ALL ('{internal,c}'::pg_catalog.name[])
    AND p.provolatile OPERATOR(pg_catalog.<>) 'i'::pg_catalog."char"
    AND (p.proname OPERATOR(pg_catalog.=) ANY ('{YOUNG}'::pg_catalog.name[])
      OR EXISTS (SELECT 1 FROM pg_catalog.pg_proc b WHERE b.proname OPERATOR(pg_catalog.=) p.proname
        AND b.oid OPERATOR(pg_catalog.<) '16384'::pg_catalog.oid))
  UNION ALL
  SELECT DISTINCT 'function', o.oprname::pg_catalog.text, NULL, NULL, NULL, NULL, NULL, NULL, NULL
  FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) o.oprcode
  JOIN pg_catalog.pg_language g ON g.oid OPERATOR(pg_catalog.=) p.prolang
  WHERE o.oid OPERATOR(pg_catalog.>=) '16384'::pg_catalog.oid
    AND g.lanname OPERATOR(pg_catalog.<>) ALL ('{internal,c}'::pg_catalog.name[])
    AND p.provolatile OPERATOR(pg_catalog.<>) 'i'::pg_catalog."char"
  UNION ALL
  SELECT DISTINCT 'function', t.typname::pg_catalog.text, NULL, NULL, NULL, NULL, NULL, NULL, NULL
  FROM pg_catalog.pg_type t
  JOIN (SELECT k.casttarget, k.castfunc FROM pg_catalog.pg_cast k
    UNION ALL
    SELECT x.contypid, d.refobjid FROM pg_catalog.pg_constraint x
    JOIN pg_catalog.pg_depend d ON d.objid OPERATOR(pg_catalog.=) x.oid
      AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_constraint'::pg_catalog.regclass
      AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
    WHERE x.contypid OPERATOR(pg_catalog.<>) '0'::pg_catalog.oid) c(type, function)
    ON c.type OPERATOR(pg_catalog.=) ANY (ARRAY[t.oid, t.typbasetype])
  JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) c.function
  JOIN pg_catalog.pg_language g ON g.oid OPERATOR(pg_catalog.=) p.prolang
  WHERE p.oid OPERATOR(pg_catalog.>=) '16384'::pg_catalog.oid
    AND g.lanname OPERATOR(pg_catalog.<>) ALL ('{internal,c}'::pg_catalog.name[])
    AND p.provolatile OPERATOR(pg_catalog.<>) 'i'::pg_catalog."char"
"#;

const ANSWER: &str = "SELECT kind, a, b, c, d, e, f, g, h FROM answer ORDER BY 1, 2, 3, 4, 5";
