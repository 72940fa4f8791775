-- The ledger from inside: what the workers do, and the arithmetic of the rollup.

CREATE FUNCTION llm_latency_histogram(response_times_ms integer[])
RETURNS bigint[] LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'llm_latency_histogram';
COMMENT ON FUNCTION llm_latency_histogram(integer[]) IS
	'Response times in milliseconds, counted as in llm_usage_rollup.latency_histogram.';

CREATE FUNCTION llm_latency_histogram_add(a bigint[], b bigint[])
RETURNS bigint[] LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'llm_latency_histogram_add';
COMMENT ON FUNCTION llm_latency_histogram_add(bigint[], bigint[]) IS
	'Two latency histograms added element by element; the shorter one counts as filled up with 0.';

CREATE FUNCTION llm_ledger_status(
	OUT database oid, OUT launcher_pid integer, OUT writer_pid integer, OUT writer_state text,
	OUT open_calls integer, OUT queued integer, OUT oldest_queued_at timestamptz,
	OUT committed bigint, OUT quarantined bigint, OUT logged bigint,
	OUT used_bytes bigint, OUT ring_used_bytes bigint, OUT ring_size_bytes bigint)
RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'llm_ledger_status';
COMMENT ON FUNCTION llm_ledger_status() IS
	'What llm_status shows, by OID of the database.';

CREATE FUNCTION llm_database_health(
	database oid,
	OUT open_circuits integer, OUT providers_down integer, OUT rounds_pid integer, OUT circuits_used integer)
RETURNS record LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'llm_database_health';
COMMENT ON FUNCTION llm_database_health(oid) IS
	'What llm_status shows of a database''s circuits and health checks.';

CREATE VIEW llm_status AS
	SELECT d.datname AS database, s.launcher_pid, s.writer_pid, s.writer_state, s.open_calls, s.queued,
		clock_timestamp() - s.oldest_queued_at AS oldest_queued_age, s.committed, s.quarantined, s.logged,
		s.used_bytes, s.ring_used_bytes, s.ring_size_bytes,
		h.rounds_pid, h.open_circuits, h.providers_down, h.circuits_used
	FROM llm_ledger_status() s
	CROSS JOIN LATERAL llm_database_health(s.database) h
	LEFT JOIN pg_catalog.pg_database d ON d.oid = s.database
	ORDER BY d.datname;
COMMENT ON VIEW llm_status IS
	'The workers and the ledger of every database that has had calls since the server started, and of this one.';
COMMENT ON COLUMN llm_status.database IS 'The database; NULL: dropped.';
COMMENT ON COLUMN llm_status.launcher_pid IS 'Process of the launcher; NULL: not running.';
COMMENT ON COLUMN llm_status.writer_pid IS 'Process of the database''s ledger writer; NULL: none is needed now.';
COMMENT ON COLUMN llm_status.writer_state IS 'running, starting, none, or failed: the last one could not start, the server log says why.';
COMMENT ON COLUMN llm_status.open_calls IS 'Calls under way, each with its room in the ledger''s memory.';
COMMENT ON COLUMN llm_status.queued IS 'Records that wait for their commit.';
COMMENT ON COLUMN llm_status.oldest_queued_age IS 'How long the oldest of them has waited; more than a second means that the writer is held up.';
COMMENT ON COLUMN llm_status.committed IS 'Records written to llm_usage_logs since the server started.';
COMMENT ON COLUMN llm_status.quarantined IS 'Records put into llm_usage_quarantine since then.';
COMMENT ON COLUMN llm_status.logged IS 'Records that could only be written to the server log since then.';
COMMENT ON COLUMN llm_status.used_bytes IS 'Shared memory that this database''s records take.';
COMMENT ON COLUMN llm_status.ring_used_bytes IS 'The same for all databases.';
COMMENT ON COLUMN llm_status.ring_size_bytes IS 'llm_router.ledger_size, in bytes.';
COMMENT ON COLUMN llm_status.rounds_pid IS 'Process that checks providers and keys in the database now; NULL: none.';
COMMENT ON COLUMN llm_status.open_circuits IS 'Circuits of the database that are open or half-open: see llm_circuits.';
COMMENT ON COLUMN llm_status.providers_down IS 'Providers of the database that are out of its plans because health checks found them down.';
COMMENT ON COLUMN llm_status.circuits_used IS 'Circuits of all databases with failures, of 1024 for which there is room.';
