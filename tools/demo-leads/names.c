#include "names.h"

#include "base/memory.h"

#define NAMES(table)                                                                                                   \
    {                                                                                                                  \
        (table), COUNT_OF(table)                                                                                       \
    }

static const char *const first_name_table[] = {"Ada", "Alba", "Amina", "Anton", "Arno", "Bela", "Bruno", "Carla",
    "Cleo", "Dario", "Dora", "Edda", "Elif", "Emil", "Enzo", "Fenja", "Felix", "Gita", "Greta", "Hugo", "Ida", "Ines",
    "Ivo", "Jana", "Joris", "Juno", "Kaya", "Kian", "Lara", "Leon", "Lina", "Malik", "Mara", "Milo", "Nadia", "Nils",
    "Noor", "Odo", "Olga", "Oskar", "Pia", "Quentin", "Rania", "Remy", "Rosa", "Samir", "Selma", "Tamsin", "Theo",
    "Uma", "Vera", "Viktor", "Wanda", "Xenia", "Yara", "Zeno"};

static const char *const last_name_head_table[] = {"Ash", "Bram", "Cald", "Dun", "Elder", "Fairn", "Glim", "Hather",
    "Ilk", "Jorn", "Kest", "Lind", "Mar", "Nether", "Oak", "Pell", "Quil", "Rook", "Silver", "Thorn", "Under", "Vale",
    "Wick", "Yarrow"};

static const char *const last_name_tail_table[] = {"bane", "brook", "combe", "croft", "dale", "fell", "gate", "ham",
    "holt", "hurst", "keld", "ley", "mere", "more", "ridge", "rook", "sande", "stead", "thwait", "wold", "worth",
    "wyn"};

static const char *const company_head_table[] = {"Amberline", "Birchgate", "Bluefern", "Brightfield", "Cobalt Pine",
    "Coppermoor", "Driftstone", "Eastwick", "Ferncastle", "Foxmeadow", "Glasswing", "Greyharbour", "Hollowell",
    "Ironleaf", "Juniper Vale", "Kitehill", "Larkspire", "Longacre", "Maplethorn", "Moonquay", "Northlight",
    "Oldbridge", "Opalrun", "Pebblewick", "Quietwater", "Redmarsh", "Rivermint", "Saltwind", "Silverkeep", "Stonepath",
    "Tallgrass", "Thistledown", "Umberfield", "Velvet Oak", "Westhaven", "Whitmoss", "Wildorchard", "Winterbourne",
    "Yellowbarn", "Zephyrstone"};

static const char *const company_tail_table[] = {"Analytics", "Bank", "Clinics", "Foods", "Freight", "Group",
    "Holdings", "Insurance", "Labs", "Logistics", "Media", "Partners", "Power", "Retail", "Schools", "Software",
    "Supply", "Systems", "Trading", "Works"};

static const char *const industry_table[] = {"Software", "Banking", "Retail", "Insurance", "Logistics", "Education",
    "Energy", "Media", "Health Care", "Food & Beverage"};

static const char *const company_size_table[] = {"1-10", "11-50", "51-200", "201-500", "501-1000", "1001+"};

static const char *const company_revenue_table[] = {"<$1M", "$1M-$10M", "$10M-$50M", "$50M-$100M", "$100M+"};

static const char *const lead_source_table[] = {"web form", "webinar", "trade fair", "referral", "newsletter"};

const struct names first_names = NAMES(first_name_table);
const struct names last_name_heads = NAMES(last_name_head_table);
const struct names last_name_tails = NAMES(last_name_tail_table);
const struct names company_heads = NAMES(company_head_table);
const struct names company_tails = NAMES(company_tail_table);
const struct names industries = NAMES(industry_table);
const struct names company_sizes = NAMES(company_size_table);
const struct names company_revenues = NAMES(company_revenue_table);
const struct names lead_sources = NAMES(lead_source_table);

const struct place places[] = {
    {"US", "TX", "Austin", "78701", "+1 512 555 01##", "(512) 555-01##"},
    {"US", "TX", "Dallas", "75201", "+1 214 555 01##", "(214) 555-01##"},
    {"US", "CA", "San Diego", "92101", "+1 619 555 01##", "(619) 555-01##"},
    {"US", "CA", "Oakland", "94607", "+1 510 555 01##", "(510) 555-01##"},
    {"US", "NY", "Buffalo", "14202", "+1 716 555 01##", "(716) 555-01##"},
    {"US", "NY", "New York", "10001", "+1 212 555 01##", "(212) 555-01##"},
    {"US", "MA", "Boston", "02108", "+1 617 555 01##", "(617) 555-01##"},
    {"US", "FL", "Tampa", "33602", "+1 813 555 01##", "(813) 555-01##"},
    {"US", "GA", "Atlanta", "30303", "+1 404 555 01##", "(404) 555-01##"},
    {"US", "IL", "Chicago", "60601", "+1 312 555 01##", "(312) 555-01##"},
    {"US", "OH", "Columbus", "43215", "+1 614 555 01##", "(614) 555-01##"},
    {"US", "MN", "Saint Paul", "55102", "+1 651 555 01##", "(651) 555-01##"},
    {"US", "AZ", "Phoenix", "85004", "+1 602 555 01##", "(602) 555-01##"},
    {"US", "WA", "Seattle", "98101", "+1 206 555 01##", "(206) 555-01##"},
    {"US", "CO", "Denver", "80202", "+1 303 555 01##", "(303) 555-01##"},
    {"CA", "ON", "Toronto", "M5H 2N2", "+1 416 555 01##", "(416) 555-01##"},
    {"CA", "BC", "Vancouver", "V6B 1A1", "+1 604 555 01##", "(604) 555-01##"},
    {"GB", "", "London", "EC1A 1BB", "+44 20 7946 0###", NULL},
    {"GB", "", "Leeds", "LS1 1UR", "+44 113 496 0###", NULL},
    {"DE", "", "Berlin", "10115", "+49 30 23125 ###", NULL},
    {"DE", "", "Köln", "50667", "+49 221 4710 ###", NULL},
    {"FR", "", "Paris", "75001", "+33 1 99 00 ## ##", NULL},
    {"AU", "", "Sydney", "2000", "+61 2 5550 ####", NULL},
};

const size_t place_count = COUNT_OF(places);
