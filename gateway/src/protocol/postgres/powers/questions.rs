//! The questions that are put to the server about our login.
//!
//! In: nothing. Out: three SELECTs, the same for every server from version 12 on. The session's search path is `pg_catalog`
//! alone, so that nothing that a user made can change what they mean. They read no relation of a user.
// TABLE: SQL

/// Of the login and of the roles that it may become, a row for each: what it is, whose, and the role that it was made a member
/// of; besides, the databases that it owns and may enter.
pub(super) const ROLES: &str = "
WITH me AS (SELECT * FROM pg_roles WHERE rolname = current_user),
reachable AS (
    SELECT r.*, coalesce((
        SELECT d.rolname FROM pg_auth_members m JOIN pg_roles d ON d.oid = m.roleid
        WHERE m.member = me.oid AND (d.oid = r.oid OR pg_has_role(d.oid, r.oid, 'MEMBER'))
        ORDER BY d.oid = r.oid DESC, d.rolsuper LIMIT 1
    ), r.rolname) AS via
    FROM pg_roles r, me
    WHERE r.oid <> me.oid AND NOT me.rolsuper AND r.rolname <> 'pg_database_owner'
        AND pg_has_role(me.oid, r.oid, 'MEMBER')
),
them AS (SELECT me.*, ''::name AS via FROM me UNION ALL SELECT * FROM reachable)
SELECT 'superuser', rolname, via FROM them WHERE rolsuper
UNION ALL SELECT 'createrole', rolname, via FROM them WHERE rolcreaterole AND NOT rolsuper
UNION ALL SELECT 'createdb', rolname, via FROM them WHERE rolcreatedb AND NOT rolsuper
UNION ALL SELECT 'replication', rolname, via FROM them WHERE rolreplication AND NOT rolsuper
UNION ALL SELECT 'bypassrls', rolname, via FROM them WHERE rolbypassrls AND NOT rolsuper
UNION ALL SELECT 'member', rolname, via FROM reachable
UNION ALL SELECT 'owns_database', d.datname, '' FROM pg_database d, me
    WHERE NOT me.rolsuper AND pg_has_role(me.oid, d.datdba, 'MEMBER')
UNION ALL SELECT 'database', d.datname, '' FROM pg_database d
    WHERE d.datallowconn AND has_database_privilege(d.oid, 'CONNECT')
ORDER BY 1, 2 LIMIT 5000";

/// Of a database, a row for each relation that the login owns or may change, and for each schema in which it may make some: in
/// which schema, which, and whether everybody may.
pub(super) const RELATIONS: &str = "
WITH relations AS (
    SELECT c.oid, n.nspname, c.relname, pg_has_role(c.relowner, 'MEMBER') AS is_ours
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
        AND n.nspname !~ '^pg_(toast|temp)' AND has_schema_privilege(n.oid, 'USAGE')
)
(SELECT 'owns', nspname, relname, '' FROM relations WHERE is_ours ORDER BY 2, 3 LIMIT 5000)
UNION ALL (SELECT 'insert', nspname, relname, has_table_privilege('public', oid, 'INSERT')::text FROM relations
    WHERE has_any_column_privilege(oid, 'INSERT') ORDER BY 2, 3 LIMIT 5000)
UNION ALL (SELECT 'update', nspname, relname, has_table_privilege('public', oid, 'UPDATE')::text FROM relations
    WHERE has_any_column_privilege(oid, 'UPDATE') ORDER BY 2, 3 LIMIT 5000)
UNION ALL (SELECT 'delete', nspname, relname, has_table_privilege('public', oid, 'DELETE')::text FROM relations
    WHERE has_table_privilege(oid, 'DELETE') ORDER BY 2, 3 LIMIT 5000)
UNION ALL (SELECT 'truncate', nspname, relname, has_table_privilege('public', oid, 'TRUNCATE')::text FROM relations
    WHERE has_table_privilege(oid, 'TRUNCATE') ORDER BY 2, 3 LIMIT 5000)
UNION ALL (SELECT 'creates', nspname, '', has_schema_privilege('public', oid, 'CREATE')::text FROM pg_namespace
    WHERE has_schema_privilege(oid, 'CREATE') AND nspname !~ '^pg_(toast|temp)' ORDER BY 2 LIMIT 500)";

/// Of a database, the columns of what the login owns.
pub(super) const COLUMNS: &str = "
SELECT n.nspname, c.relname, a.attname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped
    AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'
    AND pg_has_role(c.relowner, 'MEMBER')
ORDER BY 1, 2, 3 LIMIT 40000";
