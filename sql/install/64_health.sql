-- Circuits and health of providers.

CREATE FUNCTION llm_circuit_status(
	OUT kind text, OUT id integer, OUT state text, OUT failures integer, OUT open_for interval)
RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'llm_circuit_status';
COMMENT ON FUNCTION llm_circuit_status() IS
	'What llm_circuits shows, by number of the provider or model.';

CREATE VIEW llm_circuits AS
	SELECT c.kind, p.name AS provider, m.model_name AS model, c.state, c.failures, c.open_for
	FROM llm_circuit_status() c
	LEFT JOIN llm_models m ON m.id = c.id AND c.kind <> 'provider'
	JOIN llm_providers p ON p.id = CASE c.kind WHEN 'provider' THEN c.id ELSE m.provider_id END
	ORDER BY p.name, m.model_name, c.kind;
COMMENT ON VIEW llm_circuits IS
	'Models, providers and accounts (the platform''s key at a model) of this database that have failed since they last answered.';
COMMENT ON COLUMN llm_circuits.kind IS 'What the circuit guards: model, provider or account.';
COMMENT ON COLUMN llm_circuits.provider IS 'The provider.';
COMMENT ON COLUMN llm_circuits.model IS 'The model; NULL for a provider''s circuit.';
COMMENT ON COLUMN llm_circuits.state IS 'closed, open (other candidates come first), half-open (the next call tries it) or probed (a call is trying it).';
COMMENT ON COLUMN llm_circuits.failures IS 'Failures in a row.';
COMMENT ON COLUMN llm_circuits.open_for IS 'How much longer it is open; NULL: it is not.';

CREATE FUNCTION llm_provider_check(provider text,
	OUT status text, OUT http_status integer, OUT response_time_ms integer, OUT message text)
RETURNS record LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'llm_provider_check';
COMMENT ON FUNCTION llm_provider_check(text) IS
	'Checks the health of a provider now, as the worker does, and keeps the result. status is what llm_providers.health_status became: healthy, degraded or down; message says what was wrong, NULL: nothing.';
