# Writes page_files.c (see live_page.h) from the live page's files. Called by cmake -P with OUTPUT and ROOT (their folder).
include("${CMAKE_CURRENT_LIST_DIR}/../cmake/Embed.cmake")
set(code "/* Generated from server/page. */\n#include \"live_page.h\"\n\n")
foreach(kind "html=text/html" "css=text/css" "js=text/javascript")
  string(REPLACE "=" ";" kind "${kind}")
  list(GET kind 0 name)
  list(GET kind 1 type)
  file(SHA256 "${ROOT}/page.${name}" hash)
  embed("${ROOT}/page.${name}" "static const unsigned char ${name}_text[]")
  string(APPEND code "const struct live_page_file live_page_${name} = {\n"
    "    \"${type}; charset=utf-8\", \"\\\"${hash}\\\"\", ${name}_text, sizeof(${name}_text) - 1};\n\n")
endforeach()
file(WRITE "${OUTPUT}" "${code}")
