-- Fills a deployed, empty database, as its superuser: the settings bench.tenants and bench.cards say with how much.
--
-- The k-th tenant has 1/k of what the first has, and each at least four cards. Cards came in the order of their ids,
-- tenants mixed. Every second card was used once; for every tenth there is an idempotency key, half of them expired.

-- Rows are made to fit, so that no foreign key needs to be checked row by row.
set session_replication_role = replica;
set maintenance_work_mem = '1GB';
set work_mem = '256MB';
set timezone = 'UTC';
select setseed(0.5);

create temporary table tenant as
with share as (
    select
        number,
        4 + floor(
            (current_setting('bench.cards')::integer - 4 * current_setting('bench.tenants')::integer)
            / number / sum(1.0 / number) over ()
        )::integer as cards
    from generate_series(1, current_setting('bench.tenants')::integer) as number
)

select
    number,
    md5('tenant ' || number)::uuid as tenant_id,
    -- What rounding left over goes to the first.
    cards + case number when 1 then current_setting('bench.cards')::integer - sum(cards) over () else 0 end as cards
from share;

create temporary table made as
select
    tenant_id,
    position,
    uuidv7((position - current_setting('bench.cards')::integer) * interval '0.25 seconds') as card_id
from (
    select
        tenant.tenant_id,
        row_number() over (order by random()) as position
    from tenant
    cross join generate_series(1, tenant.cards)
) as mixed;

insert into app.cards (
    tenant_id, card_id, card_type, content, source_session_id, created_by, created_at, updated_at
)
select
    tenant_id,
    card_id,
    (array['company', 'audience', 'voice', 'insight'])[1 + position % 4],
    jsonb_build_object(
        'name', 'Subject ' || position,
        'sector', (array['Industrials', 'Health Care', 'Financials', 'Energy', 'Utilities'])[1 + position % 5],
        'region', (array['Oslo', 'Lagos', 'Lima', 'Austin', 'Pune', 'Kyoto', 'Turin'])[1 + position % 7],
        'founded', 1900 + position % 120,
        'revenue', position * 137 % 1000003,
        'tags', jsonb_build_array('tag ' || position % 50, 'tag ' || position % 211),
        'summary', 'What is known about subject ' || position || ', checked and dated. ' || md5(position::text)
    ),
    case when position % 2 = 0 then md5(tenant_id::text || position / 16)::uuid end,
    (array['api', 'onboarding', 'research', 'user ' || position % 40])[1 + position % 4],
    uuid_extract_timestamp(card_id),
    uuid_extract_timestamp(card_id)
from made
order by position;

insert into app.card_usage_totals (tenant_id, card_id, usage_count, last_used_at)
select
    tenant_id,
    card_id,
    1,
    uuid_extract_timestamp(card_id)
from made
where position % 2 = 0
order by position;

insert into app.card_usage (tenant_id, card_id, workflow_id, workflow_type, used_at)
select
    tenant_id,
    card_id,
    'workflow ' || position,
    'campaign',
    uuid_extract_timestamp(card_id)
from made
where position % 2 = 0
order by position;

insert into app.idempotency_store (
    tenant_id, idempotency_key, fingerprint, status, body, created_at, expires_at
)
select
    card.tenant_id,
    'loaded ' || made.position,
    card.content_hash,
    201,
    jsonb_build_object('cards', jsonb_build_array(card.content, card.content, card.content, card.content)),
    now() - interval '24 hours',
    now() + case when made.position % 20 = 0 then interval '-1 hour' else interval '12 hours' end
from made
inner join app.cards as card
    on card.tenant_id = made.tenant_id and card.card_id = made.card_id
where made.position % 10 = 0
order by made.position;
