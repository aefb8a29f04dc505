-- step: transaction
--
-- The identity of a lead: the same bytes as dedupe_hash() in src/dedupe (docs/identity.md has the rules, tests/vectors/dedupe.json
-- the proof). The result is stored and compared for years: what these functions answer for a text must never change.
--
-- Nothing here depends on the database's locale: every comparison and class is under "C", every lower case under the root
-- locale of ICU. Code points are written as escapes so that the file is ASCII.

-- E-mail and names. Never NULL: a blank text gives ''.
create function leadrouter.normalize_text(p_text text) returns text
    language plpgsql immutable parallel safe
    set search_path = pg_catalog, pg_temp
as $function$
declare
    v_text text collate "C" := coalesce(p_text, '');
begin
    -- Most texts need no cleaning. What may need it: control characters, white space other than a single space between words,
    -- and (last line) the combining marks of Unicode 15.0, which PostgreSQL 15 does not know yet and ICU 72 does.
    if v_text ~ (E'[\\u0001-\\u001F\\u007F-\\u00A0\\u1680\\u2000-\\u200A\\u2028\\u2029\\u202F\\u205F\\u3000'
              || E'\\U00010EFD-\\U00010EFF\\U00011F41\\U00011F42\\U0001E08F\\U0001E4EC-\\U0001E4EF]|^ |  | $') then
        v_text := regexp_replace(v_text,
            E'[\\u0001-\\u0008\\u000E-\\u001F\\u007F-\\u0084\\u0086-\\u009F'
         || E'\\U00010EFD-\\U00010EFF\\U00011F41\\U00011F42\\U0001E08F\\U0001E4EC-\\U0001E4EF]+', '', 'g');
        v_text := btrim(regexp_replace(v_text,
            E'[\\u0009-\\u000D\\u0020\\u0085\\u00A0\\u1680\\u2000-\\u200A\\u2028\\u2029\\u202F\\u205F\\u3000]+', ' ', 'g'), ' ');
    end if;
    if octet_length(v_text) = char_length(v_text) then
        return lower(v_text); -- all ASCII
    end if;
    -- ICU maps in context and to several code points in two cases; both are turned into the simple mapping: sigma at the end
    -- of a word, and capital I with dot. Then NFC once more, because lower case can meet a composition that upper case lacks.
    v_text := lower(normalize(v_text, nfc) collate "und-x-icu");
    v_text := regexp_replace(replace(v_text, E'\u03C2', E'\u03C3'), E'i\u0307+', 'i', 'g');
    return normalize(v_text, nfc);
end
$function$;

-- Phone numbers as digits with the country code. Never NULL: '' when there are no digits.
create function leadrouter.normalize_phone(p_phone text) returns text
    language plpgsql immutable parallel safe
    set search_path = pg_catalog, pg_temp
as $function$
declare
    v_phone text collate "C" := coalesce(p_phone, '');
    v_digits text collate "C";
begin
    if v_phone ~ '[Xx]' then
        v_phone := regexp_replace(v_phone,
            '(?<![A-Za-z])([Xx]|[Ee][Xx][Tt]|[Ee][Xx][Tt][Nn]|[Ee][Xx][Tt][Ee][Nn][Ss][Ii][Oo][Nn])(?![A-Za-z]).*$', '');
    end if;
    v_digits := regexp_replace(v_phone, '[^0-9]+', '', 'g');
    return case
        when strpos(v_phone, '+') > 0 and v_phone ~ '^[^0-9+]*[+]' then v_digits
        when starts_with(v_digits, '00') then substr(v_digits, 3)
        when starts_with(v_digits, '011') then substr(v_digits, 4)
        when length(v_digits) = 10 then '1' || v_digits
        else v_digits
    end;
end
$function$;

-- 64 lower-case hex digits, or NULL for a blank identity: no e-mail and no phone, and not all three names.
create function public.generate_dedupe_hash(
    p_email text, p_phone text, p_company_name text, p_first_name text, p_last_name text) returns text
    language plpgsql immutable parallel safe
    set search_path = pg_catalog, pg_temp
as $function$
declare
    v_email text collate "C" := leadrouter.normalize_text(p_email);
    v_phone text collate "C" := leadrouter.normalize_phone(p_phone);
    v_company_name text collate "C" := leadrouter.normalize_text(p_company_name);
    v_first_name text collate "C" := leadrouter.normalize_text(p_first_name);
    v_last_name text collate "C" := leadrouter.normalize_text(p_last_name);
begin
    if v_email = '' and v_phone = '' and (v_company_name = '' or v_first_name = '' or v_last_name = '') then
        return null;
    end if;
    return encode(sha256(convert_to(
        v_email || E'\x1F' || v_phone || E'\x1F' || v_company_name || E'\x1F' || v_first_name || E'\x1F' || v_last_name || E'\x1F',
        'UTF8')), 'hex');
end
$function$;

-- The insert trigger on leads runs as leadrouter_owner, so writers of leads need no right of their own.
select leadrouter.seal_functions('{normalize_text, normalize_phone, public.generate_dedupe_hash}', 'leadrouter_service');
comment on function public.generate_dedupe_hash(text, text, text, text, text) is
    'SHA-256 over the normalised identity of a lead; NULL for a blank one';
