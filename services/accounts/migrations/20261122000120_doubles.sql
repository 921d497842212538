-- migrate:up

-- What people decided about two interactions that look like one. Suspicions themselves are not kept: they are looked for
-- when somebody asks, and are gone by themselves when one of the two is.
create table double_decision (
    one_id uuid not null,
    other_id uuid not null,
    decision text not null check (decision in ('dismissed', 'withdrawn')),
    withdrawn_id uuid check (withdrawn_id in (one_id, other_id)),
    issuer text not null,
    subject text not null,
    decided_at timestamptz not null,
    primary key (one_id, other_id),
    check (one_id < other_id),
    check ((withdrawn_id is not null) = (decision = 'withdrawn'))
);
comment on table double_decision is 'two interactions that looked like one: dismissed, or one of them given to nobody';

alter table double_decision enable row level security;
create policy worker_all on double_decision to tenure_worker using (true) with check (true);
-- Whoever may see one of the two may know what was decided.
create policy api_scope on double_decision to tenure_api using (
    exists (select from interaction where interaction.id = double_decision.one_id)
    or exists (select from interaction where interaction.id = double_decision.other_id)
);
grant select, insert, update, delete on double_decision to tenure_worker;
grant select on double_decision to tenure_api;

-- migrate:down

do $$ begin raise exception 'migrations only go forward: write a new one'; end $$;
