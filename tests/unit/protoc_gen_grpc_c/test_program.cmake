# Run by ctest; CMakeLists.txt beside it says what for and with which variables.
file(REMOVE_RECURSE "${OUT}")
file(MAKE_DIRECTORY "${OUT}")

# check(NAME STATUS REGEX command...): the command ends with STATUS and its standard error matches. Set `input` for its standard input.
function(check name status regex)
  execute_process(COMMAND ${ARGN} INPUT_FILE "${input}" RESULT_VARIABLE result ERROR_VARIABLE errors OUTPUT_VARIABLE output)
  if(NOT result STREQUAL "${status}" OR NOT errors MATCHES "${regex}")
    message(SEND_ERROR "${name}: ended with ${result}, standard error: ${errors}")
  endif()
  if(NOT status EQUAL 0 AND NOT output STREQUAL "")
    message(SEND_ERROR "${name}: failed and wrote to standard output: ${output}")
  endif()
endfunction()

set(input /dev/null)
check("empty input" 1 "^protoc-gen-grpc-c: standard input is empty" "${PROGRAM}")
# A descriptor set is a CodeGeneratorRequest whose file_to_generate is a whole file: names a file that is not in it.
set(input "${SETS}/orders.set")
check("a descriptor set" 1 "^protoc-gen-grpc-c: the request names .* which is not in it" "${PROGRAM}")
file(WRITE "${OUT}/cut" "zz") # tag of field 15, 122 bytes long, and no more
set(input "${OUT}/cut")
check("cut input" 1 "^protoc-gen-grpc-c: standard input is not a whole CodeGeneratorRequest" "${PROGRAM}")
set(input /dev/null)
check("an unknown argument" 2 "^usage: " "${PROGRAM}" --nothing)
check("help" 0 "^$" "${PROGRAM}" --help)
check("no such set" 1 "could not open ${OUT}/absent: No such file" "${PROGRAM}" --without-services "${OUT}/absent" "${OUT}/x")
check("not a set" 1 "${OUT}/cut: not a FileDescriptorSet" "${PROGRAM}" --without-services "${OUT}/cut" "${OUT}/x")
check("no such folder" 1 "could not create ${OUT}/absent/x" "${PROGRAM}" --without-services "${SETS}/orders.set" "${OUT}/absent/x")
check("through protoc" 1 "same_methods.proto:6: methods GetLead and get_lead"
  "${PROTOC}" "-I${REFUSED}" "--plugin=protoc-gen-grpc-c=${PROGRAM}" "--grpc-c_out=${OUT}" "${REFUSED}/same_methods.proto")
file(WRITE "${OUT}/lost.proto" "syntax = \"proto3\";\nimport \"absent.proto\";\nservice S {}\n")
check("a lost import" 1 "lost.proto:2:1: Import .absent.proto. was not found"
  "${PROTOC}" "-I${OUT}" "--plugin=protoc-gen-grpc-c=${PROGRAM}" "--grpc-c_out=${OUT}" "${OUT}/lost.proto")
check("an import of a group" 1 "group.proto:8: field M.Inner.part is a group"
  "${PROTOC}" "-I${REFUSED}" "--plugin=protoc-gen-grpc-c=${PROGRAM}" "--grpc-c_out=${OUT}" "${REFUSED}/imports_group.proto")
file(GLOB left "${OUT}/*.grpc.*" "${OUT}/x")
if(left)
  message(SEND_ERROR "a refusal left files: ${left}")
endif()

# What is generated depends on nothing but the input: two processes write the same bytes.
foreach(folder first second)
  file(MAKE_DIRECTORY "${OUT}/${folder}")
  check("the ${folder} time" 0 "^$" "${PROTOC}" "-I${PROTOS}" "--plugin=protoc-gen-grpc-c=${PROGRAM}" "--grpc-c_out=${OUT}/${folder}"
    "${PROTOS}/shop/v1/orders.proto" "${PROTOS}/streams.proto" "${PROTOS}/legacy.proto")
endforeach()
file(GLOB_RECURSE files RELATIVE "${OUT}/first" "${OUT}/first/*.grpc.*")
list(LENGTH files count)
if(NOT count EQUAL 6)
  message(SEND_ERROR "not 6 files but: ${files}")
endif()
foreach(name IN LISTS files)
  check("${name} twice" 0 "^$" "${CMAKE_COMMAND}" -E compare_files "${OUT}/first/${name}" "${OUT}/second/${name}")
endforeach()
