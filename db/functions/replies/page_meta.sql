-- What a response says about its page: {"page", "per_page", "total", "total_pages"}.
--   page, per_page   the page, from 1, and how many items fit on it
--   total            items on all pages
create or replace function app.page_meta(page integer, per_page integer, total bigint)
returns jsonb
language sql
immutable
parallel safe
return jsonb_build_object(
    'page', page_meta.page,
    'per_page', page_meta.per_page,
    'total', page_meta.total,
    'total_pages', (page_meta.total + page_meta.per_page - 1) / page_meta.per_page
);

comment on function app.page_meta(integer, integer, bigint) is
$$What a response says about its page: page, per_page, total, total_pages.$$;
revoke all on function app.page_meta(integer, integer, bigint) from public;
grant execute on function app.page_meta(integer, integer, bigint) to cardbase_api;
