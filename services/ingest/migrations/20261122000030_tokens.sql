-- migrate:up

-- What came with a token that its provider uses once and whose signature covers nothing else: all doors share it.
create table used_token (
    source text not null,
    token text not null,
    content text not null,
    expires_at timestamptz not null,
    primary key (source, token)
);
comment on column used_token.token is 'a digest of it';
comment on column used_token.content is 'a digest of everything that the first delivery said';
comment on column used_token.expires_at is 'real time; its timestamp lets nothing pass any more then';

create index used_token_expires_at on used_token (expires_at);

grant select, insert, update, delete on used_token to tenure_worker;
grant select on used_token to tenure_api;

-- migrate:down

do $$ begin raise exception 'migrations only go forward: write a new one'; end $$;
