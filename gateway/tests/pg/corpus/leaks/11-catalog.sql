--# Where the server keeps values a second time.

-- denied
SELECT most_common_vals, histogram_bounds FROM pg_stats WHERE tablename = 'customers';

-- denied
SELECT most_common_vals::text FROM pg_catalog.pg_stats;

-- denied
SELECT * FROM pg_stats_ext;

-- denied
SELECT * FROM pg_stats_ext_exprs;

-- denied
SELECT stavalues1, stavalues2, stavalues3 FROM pg_statistic;

-- denied
SELECT s FROM pg_statistic s;

-- denied
COPY pg_statistic TO STDOUT;

-- denied
SELECT m.* FROM pg_statistic_ext_data, pg_mcv_list_items(stxdmcv) m;

-- denied
SELECT query FROM pg_stat_activity;

-- denied
SELECT pg_stat_get_activity(NULL);

-- denied
SELECT pg_stat_get_backend_activity(i) FROM pg_stat_get_backend_idset() i;

-- denied
SELECT * FROM pg_stat_statements;

-- denied
SELECT rolpassword FROM pg_authid;

-- denied
SELECT passwd FROM pg_shadow;

-- denied
SELECT umoptions FROM pg_user_mappings;

-- denied
SELECT data FROM pg_largeobject;

-- denied
SELECT chunk_data FROM pg_toast.pg_toast_2619;

-- denied
SELECT * FROM pg_hba_file_rules;

-- denied
SELECT * FROM pg_file_settings;

-- denied
SELECT subconninfo FROM pg_subscription;

-- denied
SELECT s.* FROM information_schema.schemata, pg_stats s LIMIT 5;

-- passes
SELECT relname FROM pg_class WHERE relname = 'customers';

-- passes
SELECT attname FROM pg_attribute WHERE attrelid = 'customers'::regclass AND attnum > 0 ORDER BY attnum;

-- passes
SELECT column_name FROM information_schema.columns WHERE table_name = 'customers' ORDER BY ordinal_position;

-- passes
SELECT matviewname, definition IS NOT NULL FROM pg_matviews;

-- passes
SELECT pg_get_viewdef('plain_view'::regclass);

-- passes
SELECT name, statement FROM pg_prepared_statements;

-- passes
SELECT name FROM pg_cursors;

-- passes
SELECT datname FROM pg_database WHERE datname = 'postgres';

-- passes
SHOW search_path;

-- passes
SELECT conname FROM pg_constraint WHERE conrelid = 'customers'::regclass ORDER BY conname;
