//! Masking at the source: queries with subqueries in the place of relations.
//!
//! In: a text, and what stands in the place of which relation. Out: the text that the server gets instead, written from
//! the parse tree by the grammar's own deparser and proven to be read as that very tree; or why there is none. Must never
//! leave such a relation where it could be read, and must never give out a text that says anything else.

use std::collections::BTreeSet;

use super::children::children;
use super::facts::RelationName;
use super::names;
use super::parse::{self, Node, NodeMut, Replaced, nodes};
use super::scan::{self, Caps};

/// Levels of a tree that is rewritten: copying and writing it recurses.
const DEPTH: u32 = 128;
/// A text that is rewritten.
const LONG: usize = 64 * 1024;

/// What a relation that a query names is to the query that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meant<'s> {
    /// The same.
    Itself,
    /// This query, and the relation's schema and name.
    Query(&'s str, (&'s str, &'s str)),
    /// One or the other.
    Unsure,
}

/// Knows what stands in the place of which relation.
pub trait Sources {
    /// What stands in the place of a relation; `only` leaves its children out.
    fn meant(&self, name: &RelationName, only: bool) -> Meant<'_>;
}

/// Why a query is not rewritten.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Its name could be that of several.
    #[error(
        "`{relation}` may mean more than one relation, and columns of one are masked at the source: write its schema"
    )]
    Unsure {
        /// As it is written.
        relation: String,
    },
    /// A query of WITH has the name.
    #[error(
        "`{relation}`, whose columns are masked at the source, has the name of a WITH query: write its schema, or rename that query"
    )]
    NamedAsQuery {
        /// As it is written.
        relation: String,
    },
    /// TABLESAMPLE.
    #[error("columns of `{relation}` are masked at the source, and a subquery has no TABLESAMPLE: leave it out")]
    Sampled {
        /// Its name.
        relation: String,
    },
    /// FOR UPDATE and the like.
    #[error(
        "columns that it reads are masked at the source, and rows of a subquery are not locked: leave out FOR UPDATE or FOR SHARE"
    )]
    Locked,
    /// `schema.relation.column`.
    #[error(
        "`{relation}` is masked at the source and stands there more than once: give it an alias, and name columns by that"
    )]
    Qualified {
        /// Its name.
        relation: String,
    },
    /// The database has another encoding.
    #[error("masks at the source are written in UTF8, and the database has another encoding")]
    Encoding,
    /// Too long or too deep.
    #[error(
        "columns that it reads are masked at the source, and it is too long or nested too deep to be rewritten: shorten it"
    )]
    TooLarge,
    /// The tree that comes back is another one.
    #[error(
        "columns that it reads are masked at the source, and it cannot be rewritten with certainty: write it more simply"
    )]
    NotTheSame,
}

/// The text that is sent instead; none where no query reads such a relation. What writes, locks a table, or explains is
/// not rewritten.
///
/// # Errors
/// Where a query reads one and cannot be rewritten.
pub fn rewrite(text: &str, sources: &dyn Sources) -> Result<Option<String>, SourceError> {
    // Whoever calls has read the text before.
    let Ok(text) = scan::scan(text.as_bytes(), &Caps::default()) else { return Err(SourceError::NotTheSame) };
    let text = text.as_ref();
    let tree = parse::parse(text).map_err(|_| SourceError::NotTheSame)?;
    let mut parts = Vec::new();
    let mut is_rewritten = false;
    for raw in tree.statements() {
        let instead = statement(raw, sources)?;
        if instead.is_some() && text.len() > LONG {
            return Err(SourceError::TooLarge);
        }
        is_rewritten |= instead.is_some();
        let own = || text.get(super::span(raw, text)).unwrap_or_default().trim().to_owned();
        parts.push(instead.unwrap_or_else(own));
    }
    Ok(is_rewritten.then(|| parts.join("; ")))
}

/// A query as the deparser writes it, by which it is known again.
#[must_use]
pub fn canonical(query: &str) -> Option<String> {
    let tree = parse::parse(query).ok()?;
    parse::deparse(tree.statements().next()?.stmt())
}

fn statement(raw: &nodes::RawStmt, sources: &dyn Sources) -> Result<Option<String>, SourceError> {
    let reads = match raw.stmt() {
        Node::SelectStmt(_) | Node::DeclareCursorStmt(_) | Node::PrepareStmt(_) => true,
        Node::CopyStmt(copy) => copy.relation().is_none() && !copy.is_from,
        _ => false,
    };
    if !reads {
        return Ok(None);
    }
    let names = Names::of(raw.stmt())?;
    let replaced = names.replaced(sources)?;
    if replaced.is_empty() || names.writes {
        return Ok(None);
    }
    if names.depth > DEPTH {
        return Err(SourceError::TooLarge);
    }
    if names.locks {
        return Err(SourceError::Locked);
    }
    for relation in &replaced {
        // `schema.relation.column` has no meaning beside a subquery: the schema is left out where nothing else is meant.
        let is_qualified = names.columns.iter().any(|column| is_of(column, *relation));
        if is_qualified && names.labels.iter().filter(|label| **label == relation.1).count() != 1 {
            return Err(SourceError::Qualified { relation: relation.1.to_owned() });
        }
    }
    let new = parse::replace(raw, |node| match node {
        NodeMut::RangeVar(relation) => match sources.meant(&names::relation(relation), !relation.inh) {
            Meant::Query(query, _) => Replaced::ByQuery(query),
            Meant::Itself | Meant::Unsure => Replaced::Nothing,
        },
        NodeMut::ColumnRef(column) if replaced.iter().any(|relation| is_of(column, *relation)) => {
            Replaced::WithoutSchema
        }
        _ => Replaced::Nothing,
    });
    new.and_then(|new| new.text()).map(Some).ok_or(SourceError::NotTheSame)
}

/// Whether a column is named by schema and relation.
fn is_of(column: &nodes::ColumnRef, (schema, relation): (&str, &str)) -> bool {
    let fields: Vec<_> = column.fields().iter().map(Node::as_str).collect();
    // With the database before it there is one more.
    fields.len() >= 3 && fields.windows(2).any(|pair| pair == [Some(schema), Some(relation)])
}

/// What a statement names.
#[derive(Default)]
struct Names<'a> {
    relations: Vec<&'a nodes::RangeVar>,
    sampled: Vec<&'a nodes::RangeVar>,
    queries: BTreeSet<&'a str>,
    /// By which columns can be qualified.
    labels: Vec<&'a str>,
    columns: Vec<&'a nodes::ColumnRef>,
    locks: bool,
    writes: bool,
    depth: u32,
}

impl<'a> Names<'a> {
    fn of(statement: Node<'a>) -> Result<Self, SourceError> {
        let (mut names, mut scratch) = (Self::default(), Vec::new());
        let mut stack = vec![(statement, 0)];
        while let Some((node, depth)) = stack.pop() {
            names.depth = names.depth.max(depth);
            names.note(node);
            children(node, &mut scratch).map_err(|_| SourceError::NotTheSame)?;
            stack.extend(scratch.drain(..).map(|child| (child, depth + 1)));
        }
        Ok(names)
    }

    fn note(&mut self, node: Node<'a>) {
        match node {
            Node::RangeVar(relation) => {
                self.relations.push(relation);
                if relation.alias().is_none() {
                    self.labels.extend(relation.relname());
                }
            }
            Node::Alias(alias) => self.labels.extend(alias.aliasname()),
            Node::RangeTableSample(sample) => {
                if let Node::RangeVar(relation) = sample.relation() {
                    self.sampled.push(relation);
                }
            }
            Node::CommonTableExpr(query) => self.queries.extend(query.ctename()),
            Node::ColumnRef(column) => self.columns.push(column),
            Node::LockingClause(_) => self.locks = true,
            Node::InsertStmt(_)
            | Node::UpdateStmt(_)
            | Node::DeleteStmt(_)
            | Node::MergeStmt(_)
            | Node::IntoClause(_) => self.writes = true,
            _ => {}
        }
    }

    /// Schemas and names of the relations that are replaced.
    fn replaced<'s>(&self, sources: &'s dyn Sources) -> Result<Vec<(&'s str, &'s str)>, SourceError> {
        let mut replaced = Vec::new();
        for relation in self.relations.iter().filter(|_| !self.writes) {
            let name = names::relation(relation);
            let written = || name.name.clone();
            match sources.meant(&name, !relation.inh) {
                Meant::Itself => {}
                _ if name.schema.is_none() && self.queries.contains(name.name.as_str()) => {
                    return Err(SourceError::NamedAsQuery { relation: written() });
                }
                Meant::Unsure => return Err(SourceError::Unsure { relation: written() }),
                Meant::Query(..) if self.sampled.iter().any(|sampled| std::ptr::eq(*sampled, *relation)) => {
                    return Err(SourceError::Sampled { relation: written() });
                }
                Meant::Query(_, relation) => replaced.push(relation),
            }
        }
        Ok(replaced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `c` and `s.c` are the same relation, of which `x` is masked; what `u` is nobody knows.
    struct Known;

    const C: &str = "SELECT id, '•' AS x FROM s.c";
    const ONLY_C: &str = "SELECT id, '•' AS x FROM ONLY s.c";

    impl Sources for Known {
        fn meant(&self, name: &RelationName, only: bool) -> Meant<'_> {
            match (name.schema.as_deref(), name.name.as_str()) {
                (None | Some("s"), "c") => Meant::Query(if only { ONLY_C } else { C }, ("s", "c")),
                (None, "u") => Meant::Unsure,
                _ => Meant::Itself,
            }
        }
    }

    #[test]
    fn a_relation_is_replaced_wherever_a_query_reads_it_and_nowhere_else() {
        let c = format!("({C})");
        for (text, wanted) in [
            ("select x from c", format!("SELECT x FROM {c} c")),
            ("SELECT * FROM s.c AS a(i, y) WHERE y = $1", format!("SELECT * FROM {c} a(i, y) WHERE y = $1")),
            ("TABLE c", format!("SELECT * FROM {c} c")),
            ("SELECT 1 FROM ONLY c", format!("SELECT 1 FROM ({ONLY_C}) c")),
            ("SELECT s.c.x, s.c.* FROM s.c, o", format!("SELECT c.x, c.* FROM {c} c, o")),
            (
                "SELECT (SELECT max(x) FROM c d) FROM o WHERE EXISTS (SELECT 1 FROM c) ORDER BY 1",
                format!("SELECT (SELECT max(x) FROM {c} d) FROM o WHERE EXISTS (SELECT 1 FROM {c} c) ORDER BY 1"),
            ),
            (
                "WITH w AS (SELECT * FROM c) SELECT * FROM w JOIN c USING (id), LATERAL (SELECT x FROM c) l",
                format!(
                    "WITH w AS (SELECT * FROM {c} c) SELECT * FROM w JOIN {c} c USING (id), LATERAL (SELECT x FROM {c} c) l"
                ),
            ),
            ("SELECT 1; -- no\nSELECT x FROM c; BEGIN", format!("SELECT 1; SELECT x FROM {c} c; BEGIN")),
            ("PREPARE p AS SELECT x FROM c", format!("PREPARE p AS SELECT x FROM {c} c")),
            ("DECLARE d CURSOR FOR SELECT x FROM c", format!("DECLARE d CURSOR FOR SELECT x FROM {c} c")),
            ("COPY (SELECT x FROM c) TO STDOUT", format!("COPY (SELECT x FROM {c} c) TO STDOUT")),
        ] {
            assert_eq!(rewrite(text, &Known).unwrap().as_deref(), Some(wanted.as_str()), "{text}");
        }
        for text in [
            "SELECT 1 FROM o",
            "SELECT c.x FROM o c",
            "SELECT x FROM t.c",
            "INSERT INTO c SELECT * FROM c",
            "WITH w AS (DELETE FROM o RETURNING id) SELECT x FROM c, w",
            "CREATE TABLE n AS SELECT * FROM c",
            "SELECT * INTO n FROM c",
            "EXPLAIN SELECT x FROM c",
            "COPY c TO STDOUT",
            "DELETE FROM c",
        ] {
            assert_eq!(rewrite(text, &Known), Ok(None), "{text}");
        }
    }

    #[test]
    fn what_a_subquery_cannot_be_is_refused() {
        let relation = || "c".to_owned();
        let deep = format!("SELECT x FROM c WHERE {}x = ''{}", "NOT (".repeat(140), ")".repeat(140));
        for (text, wanted) in [
            ("SELECT 1 FROM u", SourceError::Unsure { relation: "u".to_owned() }),
            ("WITH c AS (SELECT 1) SELECT * FROM c", SourceError::NamedAsQuery { relation: relation() }),
            ("SELECT x FROM c TABLESAMPLE system (10)", SourceError::Sampled { relation: relation() }),
            ("SELECT x FROM c FOR UPDATE", SourceError::Locked),
            ("SELECT * FROM (SELECT id FROM o FOR SHARE) o, c", SourceError::Locked),
            ("SELECT s.c.x FROM s.c, t.c", SourceError::Qualified { relation: relation() }),
            ("SELECT (SELECT s.c.x FROM t.c) FROM s.c", SourceError::Qualified { relation: relation() }),
            (&deep, SourceError::TooLarge),
        ] {
            assert_eq!(rewrite(text, &Known), Err(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_sent_is_read_as_the_tree_that_was_made() {
        let texts = [
            "SELECT x, -1, - 1, 1.50, 1e3, B'101', X'1f', E'a\\'b\\\\', U&'\\2022', $$a'b$$, N'n' FROM c",
            "SELECT \"Weird \"\" name\" AS \"select\", c.x::varchar(3)[], CAST(x AS numeric(10, 2)), interval '1' day, \
             timestamptz '2020-01-01', x AT TIME ZONE 'UTC', x COLLATE \"C\", (x).f, x[1:2], ARRAY[[1], [2]], ROW(1, x) FROM c",
            "SELECT DISTINCT ON (x) x, count(*) FILTER (WHERE id > 1) OVER (PARTITION BY x ORDER BY id ROWS BETWEEN 1 \
             PRECEDING AND CURRENT ROW EXCLUDE TIES), percentile_cont(0.5) WITHIN GROUP (ORDER BY id) FROM c GROUP BY GROUPING \
             SETS ((x), ()), CUBE (id) HAVING count(*) > 1 WINDOW w AS (PARTITION BY id) ORDER BY x DESC NULLS LAST, id USING < \
             OFFSET 2 FETCH FIRST 3 ROWS WITH TIES",
            "SELECT x FROM c WHERE x LIKE 'a%' ESCAPE '!' AND x SIMILAR TO 'b' AND x NOT IN ('a', 'b') AND x BETWEEN SYMMETRIC 'a' \
             AND 'b' AND x IS DISTINCT FROM 'c' AND x IS NOT NULL AND (id, x) = (1, 'a') AND id = ANY (ARRAY[1, 2]) AND id <> ALL \
             (SELECT id FROM o) AND NOT (id > 1 OR id < 2 AND id = 3) AND x OPERATOR(pg_catalog.~) 'a' AND id IS UNKNOWN IS NOT TRUE",
            "SELECT * FROM c LEFT JOIN o ON o.id = c.id NATURAL FULL JOIN p CROSS JOIN (q JOIN c AS d USING (id) AS u) AS j, \
             ROWS FROM (f(1), g(2) AS (a int)) WITH ORDINALITY AS r(a, b, n), generate_series(1, 2) WITH ORDINALITY, \
             XMLTABLE('/a' PASSING x COLUMNS y text PATH 'b', n FOR ORDINALITY) t",
            "(SELECT x FROM c EXCEPT ALL SELECT 'a') UNION (VALUES ('b'), (DEFAULT)) INTERSECT SELECT x FROM c ORDER BY 1 LIMIT ALL",
            "WITH RECURSIVE t(n) AS NOT MATERIALIZED (SELECT 1 UNION ALL SELECT n + 1 FROM t) SEARCH DEPTH FIRST BY n SET o CYCLE n \
             SET is_cycle TO true DEFAULT false USING path SELECT CASE x WHEN 'a' THEN 1 ELSE 2 END, CASE WHEN id = 1 THEN x END, \
             COALESCE(x, 'a'), GREATEST(1, id), NULLIF(x, 'b'), GROUPING(x) FROM c, t",
            "SELECT json_build_object('a', x), x -> 'a' ->> 'b', extract(year FROM now()), substring(x FROM 1 FOR 2), overlay(x \
             PLACING 'a' FROM 1), trim(BOTH 'a' FROM x), position('a' IN x), current_date, current_timestamp(3), localtime, \
             xmlelement(name foo, xmlattributes(x AS a), x), f(VARIADIC ARRAY[1]), f(a => 1, b := 2), f(DISTINCT x ORDER BY id) FROM c",
            "PREPARE p (int, text) AS SELECT x FROM c WHERE id = $1 AND x = $2",
            "DECLARE d BINARY SCROLL CURSOR WITH HOLD FOR SELECT x FROM c",
            "COPY (SELECT x FROM c) TO STDOUT WITH (FORMAT csv, HEADER true, DELIMITER ';', FORCE_QUOTE (x))",
        ];
        let refused: Vec<_> = texts.iter().filter(|text| !matches!(rewrite(text, &Known), Ok(Some(_)))).collect();
        assert!(refused.is_empty(), "{refused:#?}");
    }

    #[test]
    fn what_is_nested_is_rewritten_to_the_last_level_that_is_allowed() {
        let nested =
            |levels: usize| format!("SELECT x FROM {}c{}", "(SELECT x FROM ".repeat(levels), ") AS q".repeat(levels));
        let fits = (1..DEPTH as usize).take_while(|levels| rewrite(&nested(*levels), &Known).is_ok()).count();
        assert!((40..DEPTH as usize).contains(&fits), "{fits}");
        assert_eq!(rewrite(&nested(fits + 1), &Known), Err(SourceError::TooLarge));
        let negated = format!("SELECT x FROM c WHERE {}true{}", "NOT (".repeat(110), ")".repeat(110));
        assert!(matches!(rewrite(&negated, &Known), Ok(Some(_))));
    }

    #[test]
    fn places_are_all_that_a_shape_leaves_out() {
        let shape_of = |text: &str| parse::shape(parse::parse(text).unwrap().statements().next().unwrap().stmt());
        assert_eq!(shape_of("SELECT  1  FROM c"), shape_of("SELECT 1 FROM c"));
        for (one, other) in [
            ("SELECT 1", "SELECT 2"),
            ("SELECT 'location: 1'", "SELECT 'location: 2'"),
            ("SELECT '\" location: 1'", "SELECT '\" location: 2'"),
            ("SELECT 'a\\\" location: 1'", "SELECT 'a\\\" location: 2'"),
            ("SELECT a FROM c", "SELECT a FROM ONLY c"),
            ("SELECT a FROM c ORDER BY a", "SELECT a FROM c ORDER BY a DESC"),
        ] {
            assert_ne!(shape_of(one), shape_of(other), "{one}");
        }
    }
}
