-- Foundations: the two functions that turn a broken rule into a message a DBA
-- understands, the power level type, and the row that recognises a restore.

-- Every constraint of the configuration tables that needs words calls this, so
-- that a rule and its message stand side by side. Raised errors are
-- check_violation (23514) without "Failing row contains …", which could show a
-- secret. NULL passes, as in any CHECK.
CREATE FUNCTION llm_require(ok boolean, message text, hint text)
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF NOT ok THEN
		RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = message, HINT = hint;
	END IF;
	RETURN true;
END
$$;
COMMENT ON FUNCTION llm_require(boolean, text, text) IS
	'Used in constraints: true unless ok is false, which raises check_violation with the message and the hint.';

-- For values that name nothing. The integer it never returns lets a look-up say
-- COALESCE(found, llm_reject(...)).
CREATE FUNCTION llm_reject(message text, hint text)
RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = message, HINT = hint;
END
$$;
COMMENT ON FUNCTION llm_reject(text, text) IS
	'Always raises invalid_parameter_value (22023) with the message and the hint; called where a name is unknown.';

CREATE DOMAIN llm_power_level AS text
	CHECK (CASE WHEN VALUE NOT IN ('eco', 'balanced', 'precision')
				THEN llm_reject('unknown power level "' || VALUE || '"', 'Power levels are eco, balanced and precision.') IS NULL
				ELSE true END);
COMMENT ON DOMAIN llm_power_level IS
	'eco (cheap), balanced (best value) or precision (best quality).';

-- updated_at is the time of the last change by an operator: triggers that call
-- this leave out the columns which the extension itself keeps up to date.
CREATE FUNCTION llm_touch()
RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	NEW.updated_at := now();
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION llm_touch() IS 'Trigger function: sets updated_at to the time of the transaction.';

-- One row. CREATE EXTENSION makes it, so the row that a restore loads is always
-- a second one, and that is how a restore is recognised: see
-- llm_install_restore(). The tables with seed rows, and those whose changes are
-- audited, refer to it by a foreign key, their own or another's, which makes
-- pg_dump load it before them.
CREATE TABLE llm_install (
	installation	boolean PRIMARY KEY DEFAULT true CHECK (installation),
	installed_at	timestamptz NOT NULL DEFAULT now(),
	master_key_fingerprint	text
);
COMMENT ON TABLE llm_install IS
	'One row: this installation. Loading a second one, as a restore does, first removes the untouched seed rows.';
COMMENT ON COLUMN llm_install.installation IS 'Always true: there is one installation in a database.';
COMMENT ON COLUMN llm_install.installed_at IS
	'When the extension was created. Seed rows that nobody touched have this created_at and updated_at.';

INSERT INTO llm_install DEFAULT VALUES;

COMMENT ON COLUMN llm_install.master_key_fingerprint IS
	'Names the master key that this database''s keys were first sealed with, or last re-encrypted with; NULL before the first. Not a secret.';

-- What the extension itself put into the configuration tables. An upgrade
-- compares with it to tell a row that nobody touched from one that an operator
-- edited or deleted: see llm_seed().
CREATE TABLE llm_seeds (
	installation	boolean NOT NULL DEFAULT true REFERENCES llm_install,
	table_name		text NOT NULL,
	seed_name		text NOT NULL,
	content			jsonb NOT NULL,
	PRIMARY KEY (table_name, seed_name)
);
COMMENT ON TABLE llm_seeds IS
	'The seed rows as the extension last wrote them; rows that an operator edited or deleted since are never written again.';
COMMENT ON COLUMN llm_seeds.installation IS 'Orders a restore: llm_install is loaded first.';
COMMENT ON COLUMN llm_seeds.table_name IS 'The table of the seed row, without its schema.';
COMMENT ON COLUMN llm_seeds.seed_name IS 'The row''s name, made of names only: provider, provider/model_name, tier, level/tier/priority.';
COMMENT ON COLUMN llm_seeds.content IS 'The columns that the extension wrote, as JSON.';

-- Only from inside: who may restore may as well not audit. Kept by the process,
-- as a restore is many transactions, so that it ends with the session.
CREATE FUNCTION llm_restore_session(begins boolean)
RETURNS boolean LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'llm_restore_session';
COMMENT ON FUNCTION llm_restore_session(boolean) IS
	'Used by llm_install_restore() and llm_audit_change(): whether this session restores a dump; true says that it does from now on.';

-- pg_dump dumps configuration tables whole, since filtering seed rows out would
-- lose edits and bring deleted rows back. So before the dump's rows arrive the
-- new installation's own seed rows have to go. They go only if nobody has used
-- this installation yet: a stray INSERT must not wipe a live configuration.
CREATE FUNCTION llm_install_restore()
RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	own_install	timestamptz;
BEGIN
	PERFORM set_config('search_path', quote_ident(TG_TABLE_SCHEMA) || ', pg_temp', true);

	SELECT installed_at INTO own_install FROM llm_install;
	IF NOT FOUND THEN
		RETURN NEW;
	END IF;

	IF EXISTS (SELECT FROM llm_providers WHERE updated_at <> own_install)
		OR EXISTS (SELECT FROM llm_models WHERE updated_at <> own_install)
		OR EXISTS (SELECT FROM llm_tiers WHERE updated_at <> own_install)
		OR EXISTS (SELECT FROM llm_routing_rules WHERE updated_at <> own_install)
		OR EXISTS (SELECT FROM llm_users)
		OR EXISTS (SELECT FROM llm_budgets)
		OR EXISTS (SELECT FROM llm_provider_keys)
		OR EXISTS (SELECT FROM user_api_keys)
	THEN
		RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = 'the llm_router configuration of this database is in use',
			HINT = 'Restore into a new database, in which the restore itself creates the extension.';
	END IF;

	PERFORM llm_restore_session(true);
	DELETE FROM llm_routing_rules;
	DELETE FROM llm_models;
	DELETE FROM llm_providers;
	DELETE FROM llm_tiers;
	DELETE FROM llm_seeds;
	UPDATE llm_install SET (installed_at, master_key_fingerprint) = (NEW.installed_at, NEW.master_key_fingerprint);
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION llm_install_restore() IS
	'Trigger function of llm_install: a second row is a restore, which replaces the seed rows if nobody has touched them.';

CREATE TRIGGER llm_install_restore BEFORE INSERT ON llm_install
	FOR EACH ROW EXECUTE FUNCTION llm_install_restore();
-- Also where a restore runs with session_replication_role = replica.
ALTER TABLE llm_install ENABLE ALWAYS TRIGGER llm_install_restore;
