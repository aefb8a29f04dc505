# Generation of C from .proto files, as functions on targets.
find_program(PROTOC protoc REQUIRED)
find_program(PROTOC_C protoc-gen-c REQUIRED)

# leadrouter_proto_library(TARGET PROTOS a.proto ... ROOT dir [GRPC]): a static library of protobuf-c messages, and with GRPC
# of our stubs. PROTOS are relative to ROOT. Headers are included as "path/name.pb-c.h" and "path/name.grpc.h".
function(leadrouter_proto_library target)
  cmake_parse_arguments(ARG "GRPC" "ROOT" "PROTOS;LINK" ${ARGN})
  set(out "${CMAKE_CURRENT_BINARY_DIR}/${target}.gen")
  file(MAKE_DIRECTORY "${out}")
  set(sources)
  foreach(proto IN LISTS ARG_PROTOS)
    string(REGEX REPLACE "\\.proto$" "" stem "${proto}")
    set(produced "${out}/${stem}.pb-c.c" "${out}/${stem}.pb-c.h")
    set(command ${PROTOC} --plugin=protoc-gen-c=${PROTOC_C} --c_out=${out} -I${ARG_ROOT} ${ARG_ROOT}/${proto})
    set(depends "${ARG_ROOT}/${proto}")
    add_custom_command(OUTPUT ${produced} COMMAND ${command} DEPENDS ${depends} VERBATIM
      COMMENT "protoc-c ${proto}")
    list(APPEND sources ${produced})
    if(ARG_GRPC)
      set(stubs "${out}/${stem}.grpc.c" "${out}/${stem}.grpc.h")
      add_custom_command(OUTPUT ${stubs}
        COMMAND ${PROTOC} --plugin=protoc-gen-grpc-c=$<TARGET_FILE:protoc-gen-grpc-c> --grpc-c_out=${out} -I${ARG_ROOT} ${ARG_ROOT}/${proto}
        DEPENDS ${depends} protoc-gen-grpc-c VERBATIM COMMENT "protoc-gen-grpc-c ${proto}")
      list(APPEND sources ${stubs})
    endif()
  endforeach()
  add_library(${target} STATIC ${sources})
  target_include_directories(${target} PUBLIC "${out}")
  target_link_libraries(${target} PUBLIC leadrouter_flags PkgConfig::PROTOBUF_C ${ARG_LINK})
  if(ARG_GRPC)
    target_link_libraries(${target} PUBLIC leadrouter_grpc_c)
  endif()
endfunction()
