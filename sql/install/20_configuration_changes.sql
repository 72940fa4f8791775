-- Every process routes by its own snapshot of the configuration, and these
-- triggers tell all of them when to load it anew. Row triggers rather than
-- statement triggers, and ENABLE ALWAYS, because logical replication and replica
-- mode fire only those. Each UPDATE trigger names the columns that routing reads,
-- so that the results of health checks do not throw snapshots away; and how often
-- to check, which the worker hears of in the same way.

CREATE FUNCTION llm_config_changed()
RETURNS trigger
LANGUAGE c
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION llm_config_changed() IS
	'Trigger function: at commit, makes every process read the routing configuration, or the users, anew.';

CREATE TRIGGER llm_providers_changed
	AFTER INSERT OR DELETE OR UPDATE OF id, name, base_url, confirmed_base_url, check_path, api_format, auth_type, request_rules, enabled,
		health_check_interval, requests_per_minute, tokens_per_minute ON llm_providers
	FOR EACH ROW EXECUTE FUNCTION llm_config_changed();
CREATE TRIGGER llm_providers_truncated AFTER TRUNCATE ON llm_providers
	FOR EACH STATEMENT EXECUTE FUNCTION llm_config_changed();
ALTER TABLE llm_providers ENABLE ALWAYS TRIGGER llm_providers_changed;
ALTER TABLE llm_providers ENABLE ALWAYS TRIGGER llm_providers_truncated;

CREATE TRIGGER llm_models_changed
	AFTER INSERT OR DELETE OR UPDATE ON llm_models
	FOR EACH ROW EXECUTE FUNCTION llm_config_changed();
CREATE TRIGGER llm_models_truncated AFTER TRUNCATE ON llm_models
	FOR EACH STATEMENT EXECUTE FUNCTION llm_config_changed();
ALTER TABLE llm_models ENABLE ALWAYS TRIGGER llm_models_changed;
ALTER TABLE llm_models ENABLE ALWAYS TRIGGER llm_models_truncated;

CREATE TRIGGER llm_routing_rules_changed
	AFTER INSERT OR DELETE OR UPDATE ON llm_routing_rules
	FOR EACH ROW EXECUTE FUNCTION llm_config_changed();
CREATE TRIGGER llm_routing_rules_truncated AFTER TRUNCATE ON llm_routing_rules
	FOR EACH STATEMENT EXECUTE FUNCTION llm_config_changed();
ALTER TABLE llm_routing_rules ENABLE ALWAYS TRIGGER llm_routing_rules_changed;
ALTER TABLE llm_routing_rules ENABLE ALWAYS TRIGGER llm_routing_rules_truncated;

CREATE TRIGGER llm_tiers_changed
	AFTER INSERT OR DELETE OR UPDATE ON llm_tiers
	FOR EACH ROW EXECUTE FUNCTION llm_config_changed();
CREATE TRIGGER llm_tiers_truncated AFTER TRUNCATE ON llm_tiers
	FOR EACH STATEMENT EXECUTE FUNCTION llm_config_changed();
ALTER TABLE llm_tiers ENABLE ALWAYS TRIGGER llm_tiers_changed;
ALTER TABLE llm_tiers ENABLE ALWAYS TRIGGER llm_tiers_truncated;

CREATE TRIGGER llm_provider_keys_changed
	AFTER INSERT OR DELETE OR UPDATE ON llm_provider_keys
	FOR EACH ROW EXECUTE FUNCTION llm_config_changed();
CREATE TRIGGER llm_provider_keys_truncated AFTER TRUNCATE ON llm_provider_keys
	FOR EACH STATEMENT EXECUTE FUNCTION llm_config_changed();
ALTER TABLE llm_provider_keys ENABLE ALWAYS TRIGGER llm_provider_keys_changed;
ALTER TABLE llm_provider_keys ENABLE ALWAYS TRIGGER llm_provider_keys_truncated;

CREATE TRIGGER llm_budgets_changed
	AFTER INSERT OR DELETE OR UPDATE ON llm_budgets
	FOR EACH ROW EXECUTE FUNCTION llm_config_changed();
CREATE TRIGGER llm_budgets_truncated AFTER TRUNCATE ON llm_budgets
	FOR EACH STATEMENT EXECUTE FUNCTION llm_config_changed();
ALTER TABLE llm_budgets ENABLE ALWAYS TRIGGER llm_budgets_changed;
ALTER TABLE llm_budgets ENABLE ALWAYS TRIGGER llm_budgets_truncated;

-- Users and their keys are looked up one by one and not part of the snapshot; the
-- same function makes the processes forget those that they have looked up.
CREATE TRIGGER llm_users_changed
	AFTER INSERT OR DELETE OR UPDATE OF user_id, subscription_tier, default_power_level, byok,
		requests_per_minute, tokens_per_minute ON llm_users
	FOR EACH ROW EXECUTE FUNCTION llm_config_changed();
CREATE TRIGGER llm_users_truncated AFTER TRUNCATE ON llm_users
	FOR EACH STATEMENT EXECUTE FUNCTION llm_config_changed();
ALTER TABLE llm_users ENABLE ALWAYS TRIGGER llm_users_changed;
ALTER TABLE llm_users ENABLE ALWAYS TRIGGER llm_users_truncated;

CREATE TRIGGER user_api_keys_changed
	AFTER INSERT OR DELETE OR UPDATE OF id, user_id, provider_id, encrypted_api_key, base_url, is_active, refused_at ON user_api_keys
	FOR EACH ROW EXECUTE FUNCTION llm_config_changed();
CREATE TRIGGER user_api_keys_truncated AFTER TRUNCATE ON user_api_keys
	FOR EACH STATEMENT EXECUTE FUNCTION llm_config_changed();
ALTER TABLE user_api_keys ENABLE ALWAYS TRIGGER user_api_keys_changed;
ALTER TABLE user_api_keys ENABLE ALWAYS TRIGGER user_api_keys_truncated;
