# Files as C data, for scripts that are run by cmake -P.

# embed(PATH DECLARATION): appends the file's bytes to the variable `code` as an array that ends with NUL.
function(embed path declaration)
  file(READ "${path}" hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(REGEX REPLACE "(0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,)" "\\1\n" bytes "${bytes}")
  set(code "${code}${declaration} = {\n${bytes}0};\n\n" PARENT_SCOPE)
endfunction()
