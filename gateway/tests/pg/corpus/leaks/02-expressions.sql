--# Expressions, casts and operators on labelled columns.

-- masked
SELECT ssn::varchar FROM customers WHERE id = 1;

-- masked
SELECT CAST(ssn AS char(20)), ssn::name, ssn::bpchar FROM customers WHERE id = 1;

-- masked
SELECT ssn COLLATE "C" FROM customers WHERE id = 1;

-- masked
SELECT ssn || '', '' || ssn, ssn || id FROM customers WHERE id = 1;

-- masked
SELECT reverse(ssn), reverse(email) FROM customers WHERE id = 1;

-- masked
SELECT upper(email), lower(email), initcap(email) FROM customers WHERE id = 1;

-- masked
SELECT substr(ssn, 1, 6), substr(ssn, 7), left(ssn, 6), right(ssn, 6) FROM customers WHERE id = 1;

-- masked
SELECT substr(ssn, i, 1) FROM customers, generate_series(1, 11) i WHERE id = 1;

-- masked
SELECT ascii(substr(ssn, i, 1)) FROM customers, generate_series(1, 11) i WHERE id = 1;

-- masked
SELECT chr(ascii(substr(email, i, 1)) + 1) FROM customers, generate_series(1, 20) i WHERE id = 1;

-- masked
SELECT translate(ssn, '0123456789', 'abcdefghij') FROM customers WHERE id = 1;

-- masked
SELECT replace(ssn, '-', '')::int, replace(ssn, '-', '')::numeric + 0 FROM customers WHERE id = 1;

-- masked
SELECT regexp_replace(ssn, '-', '', 'g'), regexp_match(ssn, '(.*)'), regexp_split_to_array(ssn, '-') FROM customers WHERE id = 1;

-- masked
SELECT split_part(ssn, '-', 1), split_part(ssn, '-', 2), split_part(ssn, '-', 3) FROM customers WHERE id = 1;

-- masked
SELECT encode(ssn::bytea, 'base64'), encode(ssn::bytea, 'hex'), encode(email::bytea, 'escape') FROM customers WHERE id = 1;

-- masked
SELECT convert_to(email, 'UTF8'), email::bytea FROM customers WHERE id = 1;

-- masked
SELECT md5(ssn), sha256(ssn::bytea), hashtext(ssn) FROM customers WHERE id = 1;

-- masked
SELECT length(email), octet_length(email), bit_length(email) FROM customers WHERE id = 1;

-- masked
SELECT CASE WHEN true THEN ssn END, CASE id WHEN 1 THEN email ELSE '' END FROM customers WHERE id = 1;

-- masked
SELECT COALESCE(ssn, ''), NULLIF(ssn, ''), GREATEST(ssn, ''), LEAST(ssn, 'z') FROM customers WHERE id = 1;

-- masked
SELECT format('%s %I %L', ssn, ssn, ssn), concat(ssn, email), concat_ws('-', ssn, email) FROM customers WHERE id = 1;

-- masked
SELECT quote_literal(ssn), quote_ident(email), quote_nullable(ssn) FROM customers WHERE id = 1;

-- masked
SELECT overlay(ssn PLACING '' FROM 1 FOR 0), trim(ssn), lpad(ssn, 20), rpad(ssn, 20), repeat(ssn, 2) FROM customers WHERE id = 1;

-- masked
SELECT substring(ssn FROM 1 FOR 11), substring(ssn FROM '.*'), position('9' IN ssn) FROM customers WHERE id = 1;

-- masked
SELECT salary + 0, salary - 1 + 1, -salary, salary * 1.0, salary / 1, salary::text, salary::float8 FROM customers WHERE id = 1;

-- masked
SELECT salary & 255, salary >> 8, salary # 0, ~salary, salary % 1000 FROM customers WHERE id = 1;

-- masked
SELECT to_hex(salary), to_char(salary, '9,999,999'), salary::bit(32), salary::money FROM customers WHERE id = 1;

-- masked
SELECT born + 0, born + interval '0', to_char(born, 'YYYYMMDD'), extract(epoch FROM born), age(born, '2000-01-01') FROM customers WHERE id = 1;

-- masked
SELECT born::text, born::timestamp, date_part('year', born), date_trunc('month', born) FROM customers WHERE id = 1;

-- masked from 14
SELECT notes->>'secret', notes->'secret', notes #>> '{secret}', notes['secret'] FROM customers WHERE id = 1;

-- denied
SELECT jsonb_path_query(notes, '$.secret') FROM customers WHERE id = 1;

-- masked
SELECT jsonb_pretty(notes), notes::text, notes || '{}', notes - 'open', jsonb_set(notes, '{a}', '1') FROM customers WHERE id = 1;

-- masked
SELECT photo::text, encode(photo, 'base64'), encode(photo, 'escape'), photo || '\x00', substring(photo FROM 1 FOR 17) FROM customers WHERE id = 1;

-- masked
SELECT get_byte(photo, i), get_bit(photo, i) FROM customers, generate_series(0, 16) i WHERE id = 1;

-- masked
SELECT convert_from(photo, 'UTF8'), reverse(convert_from(photo, 'UTF8')) FROM customers WHERE id = 1;

-- masked
SELECT tags[1], tags[1:2], array_to_string(tags, ','), tags || 'x'::text, array_append(tags, 'y'), cardinality(tags) FROM customers WHERE id = 1;

-- masked
SELECT array_to_json(tags), to_jsonb(tags), tags::text FROM customers WHERE id = 1;

-- masked
SELECT ARRAY[ssn, email], ARRAY[[ssn]], ('{' || ssn || '}')::text[] FROM customers WHERE id = 1;

-- masked
SELECT ssn IS NULL, ssn IS NOT NULL, ssn = 'x', ssn LIKE '000%', ssn ~ '^0', ssn BETWEEN 'a' AND 'b' FROM customers WHERE id = 1;

-- masked
SELECT ssn IS DISTINCT FROM NULL, ssn IN ('a', 'b'), ssn = ANY (ARRAY['a']) FROM customers WHERE id = 1;

-- masked
SELECT starts_with(ssn, '0'), strpos(ssn, '7'), ssn ^@ '000' FROM customers WHERE id = 1;

-- masked
SELECT ssn SIMILAR TO '0%', ssn ILIKE '0%', ssn !~~ 'x' FROM customers WHERE id = 1;

-- masked
SELECT pg_typeof(ssn), pg_column_size(ssn) FROM customers WHERE id = 1;

-- masked
SELECT to_tsvector('simple', email), plainto_tsquery('simple', email), to_tsvector('simple', notes) FROM customers WHERE id = 1;

-- masked
SELECT width_bucket(salary, 0, 10000000, 1000), salary BETWEEN 1 AND 2 FROM customers WHERE id = 1;

-- masked
SELECT 'x@' || email, substr(email, 6, 4) || 'xxxxxxxx' FROM customers WHERE id = 1;

-- masked
SELECT email::mail, ROW(email, 1)::pair, (ROW(email, 1)::pair).a FROM customers WHERE id = 1;

-- masked
SELECT (1, ssn) = (1, 'x'), ROW(ssn) IS NULL FROM customers WHERE id = 1;

-- masked
SELECT numrange(salary, salary + 1), int4range(salary, salary, '[]'), daterange(born, born, '[]') FROM customers WHERE id = 1;

-- masked
SELECT make_date(extract(year FROM born)::int, 1, 1), make_interval(secs => salary), justify_interval(age(born)) FROM customers WHERE id = 1;

-- masked from 14
SELECT unistr(email), normalize(email), convert_from(convert_to(email, 'LATIN1'), 'LATIN1') FROM customers WHERE id = 1;

-- masked
SELECT string_to_array(ssn, '-'), array_position(string_to_array(ssn, '-'), '73'), parse_ident('a.b' || substr(ssn, 1, 0)) FROM customers WHERE id = 1;

-- masked
SELECT setseed(0) IS NULL, ssn FROM customers WHERE id = 1;

-- masked
SELECT int4send(salary), textsend(ssn), date_send(born) FROM customers WHERE id = 1;

-- masked
SELECT decode(encode(ssn::bytea, 'hex'), 'hex'), textin(textout(ssn)) FROM customers WHERE id = 1;

-- masked from 16
SELECT ssn::text IS JSON, JSON_ARRAY(ssn), JSON_OBJECT('a': ssn) FROM customers WHERE id = 1;

-- masked from 17
SELECT JSON_VALUE(notes, '$.secret'), JSON_QUERY(notes, '$'), JSON_EXISTS(notes, '$.secret'), JSON_SERIALIZE(notes) FROM customers WHERE id = 1;

-- masked from 18
SELECT casefold(email), crc32(ssn::bytea), array_reverse(tags), array_sort(tags), salary::bytea FROM customers WHERE id = 1;

-- passes
SELECT upper(name), id + 1, name || '!' FROM customers WHERE id = 1;

-- passes
SELECT CASE WHEN id = 1 THEN name ELSE 'ssn' END FROM customers ORDER BY id;
