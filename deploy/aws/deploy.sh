#!/usr/bin/env bash
# From the checked-out commit to a deployed service: build, push, change the stack of service.yaml, wait, ask it how it is.
#
#   deploy/aws/deploy.sh [--image REPOSITORY@sha256:…] [--url https://facet.example.com] [--settings FILE] [Parameter=value …]
#
# --image deploys what is in the repository already, which is how to go back to a former version. --url is where clients
# reach the service; it is asked for its health at the end, and its name is that of a new version's check. --settings is a file of
# NAME=VALUE lines for whatever the parameters do not say. What follows are parameters of service.yaml. Those that are not given
# keep their value, but for the roles, which come from the foundation, and DeletionProtection, which becomes "true" once the
# stack is made. VPC, subnets, clients' keys and the alarms' topic come from the other stacks where they have none yet;
# CertificateArn has none at first.
#
# From the environment: STACK (facet), FOUNDATION (facet-foundation), NETWORK (facet-network), the stacks' names, and what the
# aws command line reads.
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

stack=${STACK-facet}
foundation=${FOUNDATION-facet-foundation}
network=${NETWORK-facet-network}
image='' url='' settings='' parameters=()

while (($#)); do
    case $1 in
        --image) image=${2:?--image needs a value} && shift 2 ;;
        --url) url=${2:?--url needs a value} && shift 2 ;;
        --settings) settings=${2:?--settings needs a value} && shift 2 ;;
        [A-Z]*=*) parameters+=("$1") && shift ;;
        *) echo "deploy.sh: what is $1?" >&2 && exit 2 ;;
    esac
done

# $(output STACK KEY): an output of a stack; fails where the stack or the output is missing.
output() {
    local value
    value=$(aws cloudformation describe-stacks --stack-name "$1" --output text \
        --query "Stacks[0].Outputs[?OutputKey=='$2'].OutputValue | [0]")
    [[ $value != None ]] || { echo "deploy.sh: the stack $1 has no output $2" >&2 && return 1; }
    echo "$value"
}

# $(parameter NAME): what the stack has been given.
parameter() {
    aws cloudformation describe-stacks --stack-name "$stack" --output text \
        --query "Stacks[0].Parameters[?ParameterKey=='$1'].ParameterValue | [0]"
}

# $(architecture): of the machines, as given, or else as the stack has it.
architecture() {
    local parameter value=''
    for parameter in "${parameters[@]}"; do
        [[ $parameter != CpuArchitecture=* ]] || value=${parameter#*=}
    done
    if [[ -z $value ]]; then
        value=$(parameter CpuArchitecture 2>/dev/null) || value=None
    fi
    case $value in
        ARM64) echo arm64 ;;
        *) echo amd64 ;;
    esac
}

# Builds what is committed, and nothing else, and prints where the registry keeps it.
push() {
    local repository revision tag version architecture
    repository=$(output "$foundation" RepositoryUri)
    architecture=$(architecture)
    revision=$(git rev-parse HEAD)
    tag=$revision
    [[ $architecture == amd64 ]] || tag=$revision-$architecture
    if [[ -n $(git status --porcelain) ]]; then
        echo "deploy.sh: there are changes that no commit holds" >&2
        return 1
    fi
    # Tags never move: a commit that is in the repository is not built again.
    if ! digest "${repository#*/}" "$tag" 2>/dev/null >&2; then
        aws ecr get-login-password | docker login --username AWS --password-stdin "${repository%%/*}" >&2
        version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
        DOCKER_BUILDKIT=1 docker build --platform "linux/$architecture" --build-arg "VERSION=$version" \
            --build-arg "REVISION=$revision" --build-arg LOCK=remote --tag "$repository:$tag" . >&2
        docker push "$repository:$tag" >&2
    fi
    echo "$repository@$(digest "${repository#*/}" "$tag")"
}

# $(digest REPOSITORY TAG): what the registry knows this tag as.
digest() {
    aws ecr describe-images --repository-name "$1" --image-ids "imageTag=$2" --output text \
        --query 'imageDetails[0].imageDigest'
}

# Puts the file of settings into the bucket, under the hash of its content so that going back finds the former one, and prints its
# ARN. What service.yaml sets itself would go before a line of the file, which is therefore refused.
keep_settings() {
    local key name line
    while IFS= read -r line || [[ -n $line ]]; do
        [[ -n $line && $line != '#'* ]] || continue
        name=${line%%=*}
        if [[ $line == *$'\r' ]]; then
            echo "deploy.sh: $1: a line ends with a carriage return: $name" >&2 && return 1
        elif [[ $name =~ ^FACET_(HOST|PORT|TLS(_CERTIFICATE|_KEY)?)$ ]]; then
            echo "deploy.sh: $1: the load balancer speaks HTTP with port 8000, whatever the file says: $name" >&2 && return 1
        elif [[ $line != *=?* || ! $name =~ ^[A-Z][A-Z0-9_]*$ ]]; then
            echo "deploy.sh: $1: no NAME=VALUE: $name" >&2 && return 1
        elif grep -qxE " +(- )?Name: $name" deploy/aws/service.yaml; then
            echo "deploy.sh: $1: $name belongs to the template: give its parameter, or its secret" >&2 && return 1
        fi
    done <"$1"
    key=settings/$(sha256sum <"$1" | cut -c -64).env
    aws s3api put-object --bucket "$store" --key "$key" --body "$1" >&2
    echo "${stack_role%%:iam:*}:s3:::$store/$key"
}

stack_role=$(output "$foundation" StackRoleArn)
store=$(output "$foundation" StoreName)
if [[ -n $settings ]]; then
    file=$(keep_settings "$settings")
    parameters+=("SettingsFileArn=$file")
fi
[[ -n $image ]] || image=$(push)
# $(given NAME): whether a parameter stands on the command line.
given() {
    local parameter
    for parameter in "${parameters[@]}"; do
        [[ $parameter != "$1="* ]] || return 0
    done
    return 1
}

# take STACK NAME …: parameters that are outputs of that stack under the same name, where they are not given.
take() {
    local from=$1 name value
    shift
    for name in "$@"; do
        given "$name" && continue
        value=$(output "$from" "$name")
        parameters+=("$name=$value")
    done
}

# choose STACK NAME …: the same, but for those of which this stack has a value already.
choose() {
    local from=$1 name value
    shift
    for name in "$@"; do
        given "$name" && continue
        value=''
        [[ -n $new ]] || value=$(parameter "$name")
        if [[ -n $value && $value != None ]]; then
            parameters+=("$name=$value")
        else
            take "$from" "$name"
        fi
    done
}

# change NAME=VALUE …: the stack with these parameters; what is not named keeps its value.
# The template is larger than a request may be, and goes through the bucket.
# It waits until new tasks are healthy; where they do not become so, ECS and CloudFormation go back, and this fails.
change() {
    aws cloudformation deploy --stack-name "$stack" --template-file deploy/aws/service.yaml --role-arn "$stack_role" \
        --s3-bucket "$store" --s3-prefix templates --tags "Application=$stack" \
        --no-fail-on-empty-changeset --parameter-overrides "$@"
}

# Whether the stack has yet to be made. One that is only in review is: nothing of it exists.
is_new() {
    local status
    if status=$(aws cloudformation describe-stacks --stack-name "$stack" --output text \
        --query 'Stacks[0].StackStatus' 2>&1); then
        [[ $status == *REVIEW_IN_PROGRESS ]]
    else
        [[ $status == *"does not exist"* ]] || { echo "$status" >&2 && exit 1; }
    fi
}

new=''
! is_new || new=yes
take "$foundation" ExecutionRoleArn TaskRoleArn TrafficRoleArn PredictCheckRoleArn
choose "$foundation" ApiKeysSecretArn AlarmTopicArn
choose "$network" VpcId PublicSubnetIds PrivateSubnetIds

if [[ $url == https://* ]] && ! given HostName; then
    host=${url#https://}
    parameters+=("HostName=${host%%[:/]*}")
fi

echo "deploy.sh: $image to the stack $stack"
if given DeletionProtection; then
    change "ImageUri=$image" "${parameters[@]}"
elif [[ -n $new ]]; then
    # A load balancer that is protected cannot be deleted, so that a first deployment which fails could not be taken back.
    change "ImageUri=$image" "${parameters[@]}" DeletionProtection=false
    change DeletionProtection=true
else
    change "ImageUri=$image" "${parameters[@]}" DeletionProtection=true
fi

echo "deploy.sh: the load balancer is $(output "$stack" LoadBalancerName)"
if [[ -n $url ]]; then
    curl --fail --silent --show-error --max-time 10 --retry 5 --retry-connrefused "${url%/}/health"
    echo
fi
