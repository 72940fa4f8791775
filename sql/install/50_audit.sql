-- What goes into llm_audit_logs, and that nothing leaves it. After the seed rows,
-- which are no change of an operator's.

-- Who acts: the role that was logged in or chosen with SET ROLE, whatever
-- SECURITY DEFINER function or cascade the change comes from.
CREATE FUNCTION llm_audit_write(action text, object text, detail jsonb)
RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	INSERT INTO llm_audit_logs (actor, user_id, action, object, detail)
	SELECT a.actor, llm_audit_user_id(), llm_audit_write.action, llm_audit_write.object,
		   llm_audit_write.detail || CASE WHEN a.actor = session_user THEN '{}' ELSE jsonb_build_object('session_user', session_user) END
	FROM (SELECT CASE current_setting('role') WHEN 'none' THEN session_user ELSE current_setting('role') END) AS a (actor);
END;
COMMENT ON FUNCTION llm_audit_write(text, text, jsonb) IS
	'Used by llm_audit_change, llm_grant and llm_revoke: one entry of llm_audit_logs, of the role that acts.';

-- What people call the row. Of a model whose provider is deleted with it, the
-- provider's name is gone by then: #id, as in the entry of the provider.
CREATE FUNCTION llm_audit_object(kind text, content jsonb)
RETURNS text
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT CASE kind
		WHEN 'provider' THEN content ->> 'name'
		WHEN 'model' THEN COALESCE((SELECT p.name FROM llm_providers p WHERE p.id = (content ->> 'provider_id')::integer),
								   '#' || (content ->> 'provider_id')) || '/' || (content ->> 'model_name')
		WHEN 'rule' THEN concat_ws('/', content ->> 'power_level', content ->> 'subscription_tier', content ->> 'priority')
		WHEN 'tier' THEN content ->> 'subscription_tier'
		WHEN 'user' THEN content ->> 'user_id'
		WHEN 'budget' THEN concat_ws('/', content ->> 'scope', content ->> 'scope_value', content ->> 'period')
	END;
END;
COMMENT ON FUNCTION llm_audit_object(text, jsonb) IS 'Used by llm_audit_change_write: the name by which an entry calls a row.';

-- Extra headers and parameters of the URL may be secrets of a gateway: by name only.
CREATE FUNCTION llm_audit_shown(name text, value jsonb)
RETURNS jsonb
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
	SELECT CASE WHEN name = 'request_rules' AND value ?| '{headers,query}'
		THEN value || (SELECT jsonb_object_agg(m.member, (SELECT jsonb_agg(k ORDER BY k) FROM jsonb_object_keys(value -> m.member) AS k))
					   FROM unnest('{headers,query}'::text[]) AS m (member) WHERE value ? m.member)
		ELSE value END;
END;
COMMENT ON FUNCTION llm_audit_shown(text, jsonb) IS
	'Used by llm_audit_change_write: the value of a column as an entry shows it, without what may be secret.';

-- The columns that an operator changes; what checks and triggers keep is left out.
CREATE FUNCTION llm_audit_change_write(kind text, operation text, before jsonb, after jsonb)
RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	SELECT llm_audit_write(
		kind || CASE operation WHEN 'INSERT' THEN '.add' WHEN 'UPDATE' THEN '.update' ELSE '.delete' END,
		CASE operation WHEN 'TRUNCATE' THEN NULL ELSE llm_audit_object(kind, COALESCE(after, before)) END,
		CASE operation
			WHEN 'UPDATE' THEN jsonb_build_object('changed', c.changes)
			WHEN 'TRUNCATE' THEN '{"all": true}'
			ELSE c.row_values END
		|| CASE WHEN kind = 'provider' AND operation = 'DELETE' THEN jsonb_build_object(
				'models', (SELECT count(*) FROM llm_models m WHERE m.provider_id = (before ->> 'id')::integer),
				'provider_keys', (SELECT count(*) FROM llm_provider_keys k WHERE k.provider_id = (before ->> 'id')::integer),
				'user_keys', (SELECT count(*) FROM user_api_keys k WHERE k.provider_id = (before ->> 'id')::integer))
			ELSE '{}' END)
	FROM (
		SELECT jsonb_object_agg(v.name, jsonb_build_array(llm_audit_shown(v.name, before -> v.name), llm_audit_shown(v.name, v.value)))
				   FILTER (WHERE v.value IS DISTINCT FROM before -> v.name) AS changes,
			   jsonb_object_agg(v.name, llm_audit_shown(v.name, v.value)) FILTER (WHERE v.value <> 'null') AS row_values
		FROM jsonb_each(COALESCE(after, before)) AS v (name, value)
		WHERE v.name <> ALL ('{created_at,updated_at,installation,confirmed_base_url,health_status,response_time_ms,uptime_percentage,error_rate,last_success_at}')
	) AS c
	WHERE operation <> 'UPDATE' OR c.changes IS NOT NULL;
END;
COMMENT ON FUNCTION llm_audit_change_write(text, text, jsonb, jsonb) IS
	'Used by llm_audit_change: the entry for a row of the configuration that was added, changed or deleted.';

-- As the owner, since nobody else may write entries; and by the schema's name of
-- now, with nothing of that schema in the search_path.
CREATE FUNCTION llm_audit_change()
RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	restoring	boolean;
BEGIN
	EXECUTE format('SELECT %I.llm_restore_session(false)', TG_TABLE_SCHEMA) INTO restoring;
	IF NOT restoring THEN
		EXECUTE format('SELECT %I.llm_audit_change_write($1, $2, $3, $4)', TG_TABLE_SCHEMA)
			USING TG_ARGV[0], TG_OP, to_jsonb(OLD), to_jsonb(NEW);
	END IF;
	RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END
$$;
COMMENT ON FUNCTION llm_audit_change() IS
	'Trigger function: an entry of llm_audit_logs for each row of the configuration that is added, changed or deleted; none in a restore.';

-- Deletes are told before they happen: afterwards the cascade has taken the keys
-- and models that the entry of a provider counts. Not ENABLE ALWAYS: what
-- replication brings was audited where it was done.
CREATE TRIGGER llm_providers_audit
	AFTER INSERT OR UPDATE OF id, name, display_name, base_url, check_path, api_format, auth_type, request_rules, enabled,
		health_check_interval, requests_per_minute, tokens_per_minute ON llm_providers
	FOR EACH ROW EXECUTE FUNCTION llm_audit_change('provider');
CREATE TRIGGER llm_providers_audit_delete BEFORE DELETE ON llm_providers
	FOR EACH ROW EXECUTE FUNCTION llm_audit_change('provider');
CREATE TRIGGER llm_providers_audit_truncate BEFORE TRUNCATE ON llm_providers
	FOR EACH STATEMENT EXECUTE FUNCTION llm_audit_change('provider');

CREATE TRIGGER llm_models_audit AFTER INSERT OR UPDATE ON llm_models
	FOR EACH ROW EXECUTE FUNCTION llm_audit_change('model');
CREATE TRIGGER llm_models_audit_delete BEFORE DELETE ON llm_models
	FOR EACH ROW EXECUTE FUNCTION llm_audit_change('model');
CREATE TRIGGER llm_models_audit_truncate BEFORE TRUNCATE ON llm_models
	FOR EACH STATEMENT EXECUTE FUNCTION llm_audit_change('model');

CREATE TRIGGER llm_routing_rules_audit AFTER INSERT OR UPDATE ON llm_routing_rules
	FOR EACH ROW EXECUTE FUNCTION llm_audit_change('rule');
CREATE TRIGGER llm_routing_rules_audit_delete BEFORE DELETE ON llm_routing_rules
	FOR EACH ROW EXECUTE FUNCTION llm_audit_change('rule');
CREATE TRIGGER llm_routing_rules_audit_truncate BEFORE TRUNCATE ON llm_routing_rules
	FOR EACH STATEMENT EXECUTE FUNCTION llm_audit_change('rule');

CREATE TRIGGER llm_tiers_audit AFTER INSERT OR UPDATE ON llm_tiers
	FOR EACH ROW EXECUTE FUNCTION llm_audit_change('tier');
CREATE TRIGGER llm_tiers_audit_delete BEFORE DELETE ON llm_tiers
	FOR EACH ROW EXECUTE FUNCTION llm_audit_change('tier');
CREATE TRIGGER llm_tiers_audit_truncate BEFORE TRUNCATE ON llm_tiers
	FOR EACH STATEMENT EXECUTE FUNCTION llm_audit_change('tier');

CREATE TRIGGER llm_users_audit AFTER INSERT OR UPDATE ON llm_users
	FOR EACH ROW EXECUTE FUNCTION llm_audit_change('user');
CREATE TRIGGER llm_users_audit_delete BEFORE DELETE ON llm_users
	FOR EACH ROW EXECUTE FUNCTION llm_audit_change('user');
CREATE TRIGGER llm_users_audit_truncate BEFORE TRUNCATE ON llm_users
	FOR EACH STATEMENT EXECUTE FUNCTION llm_audit_change('user');

CREATE TRIGGER llm_budgets_audit AFTER INSERT OR UPDATE ON llm_budgets
	FOR EACH ROW EXECUTE FUNCTION llm_audit_change('budget');
CREATE TRIGGER llm_budgets_audit_delete BEFORE DELETE ON llm_budgets
	FOR EACH ROW EXECUTE FUNCTION llm_audit_change('budget');
CREATE TRIGGER llm_budgets_audit_truncate BEFORE TRUNCATE ON llm_budgets
	FOR EACH STATEMENT EXECUTE FUNCTION llm_audit_change('budget');

-- Append-only, also for a role that somebody granted everything. The owner is who
-- has the owner's privileges: members that inherit them, and superusers.
CREATE FUNCTION llm_audit_guard()
RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF NOT pg_has_role(current_user, (SELECT c.relowner FROM pg_class c WHERE c.oid = TG_RELID), 'USAGE') THEN
		RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
			MESSAGE = format('role "%s" may not change llm_audit_logs', current_user),
			HINT = 'Entries are made by llm_router, and deleted by its owner and by llm_router.audit_retention.';
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION llm_audit_guard() IS
	'Trigger function: lets nobody but the owner write to llm_audit_logs, whatever was granted.';

CREATE TRIGGER llm_audit_logs_guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON llm_audit_logs
	FOR EACH STATEMENT EXECUTE FUNCTION llm_audit_guard();
ALTER TABLE llm_audit_logs ENABLE ALWAYS TRIGGER llm_audit_logs_guard;

-- A note is an entry that comes by way of the ledger's writer: from refusals,
-- whose transactions are rolled back, and from calls. The file that keeps notes
-- over a restart may be loaded twice, so an entry that is there, to the
-- microsecond, is passed over with all that follows from it.
--
-- A note about a refused key has the key's id and version, which tells it from the
-- key that may have replaced it. (Its token does not: the same key may have been
-- encrypted again.) A check after the refusal knows better than the refusal.
--
-- Calls wait for the writer, so it does not wait long for a lock.
CREATE FUNCTION llm_note_write(note jsonb)
RETURNS void
LANGUAGE sql
SET lock_timeout = '100ms'
BEGIN ATOMIC
	WITH written AS (
		INSERT INTO llm_audit_logs (actor, user_id, action, object, detail, created_at)
		SELECT n.actor, n.user_id, n.action, n.object, n.detail, n.created_at
		FROM jsonb_to_record(note) AS n (actor text, user_id text, action text, object text, detail jsonb, created_at timestamptz)
		WHERE NOT EXISTS (
			SELECT FROM llm_audit_logs l
			WHERE l.action = n.action AND l.created_at = n.created_at
			  AND (l.actor, l.user_id, l.object, l.detail) IS NOT DISTINCT FROM (n.actor, n.user_id, n.object, n.detail))
		RETURNING detail, created_at
	), marked AS (
		UPDATE user_api_keys k
		SET refused_at = w.created_at, refusal = w.detail ->> 'refusal', checked_at = w.created_at
		FROM written w
		-- A key whose user holds its row is not marked: the next call does. Waiting
		-- would let one user hold up everybody's entries.
		WHERE k.id = (SELECT f.id FROM user_api_keys f WHERE f.id = (note ->> 'key_id')::bigint FOR NO KEY UPDATE SKIP LOCKED)
		  AND k.version = (note ->> 'key_version')::integer
		  AND (k.checked_at <= w.created_at) IS NOT FALSE
		RETURNING k.id
	)
	-- Everybody may listen, so this names nobody.
	SELECT pg_notify('llm_router', t.event::text)
	FROM (
		SELECT jsonb_build_object('event', 'key_refused', 'key_id', m.id)
		FROM marked m
		UNION ALL
		SELECT jsonb_build_object('event', 'budget_warning', 'budget_id', w.detail -> 'budget_id', 'percent', w.detail -> 'percent')
		FROM written w
		WHERE note ->> 'action' = 'budget.warning'
	) AS t (event);
END;
COMMENT ON FUNCTION llm_note_write(jsonb) IS
	'Used by the ledger''s writer: one entry of llm_audit_logs; for a refused key also marks the key. Of refused keys and of budgets near their end it notifies the channel llm_router.';
