# fish completion for lockctl; written by `lockctl completion fish`
function _lockctl
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l name $words[1]
    set -e words[1]
    for line in (env _LOCKCTL_COMPLETE=1 $name $words "$current" 2>/dev/null)
        if test "$line" = ":files"
            __fish_complete_path "$current"
        else
            echo "$line"
        end
    end
end
complete --command lockctl --no-files --keep-order --arguments "(_lockctl)"
