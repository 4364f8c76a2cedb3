// Everything a one-node Kubernetes cluster needs, in one binary that acts as whichever program it is called by name:
// etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubelet, kube-proxy, kubectl and coredns.
//
// One binary instead of eight, because the programs share nearly all of their code: linked one by one they would take
// about five times the disk and several times the build. It exists because Go modules can be had where neither
// container images nor released binaries can.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/template"
	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// componentCommands are the programs that Kubernetes itself starts through component-base's cli.Run.
var componentCommands = map[string]func() *cobra.Command{
	"kube-apiserver":          apiserver.NewAPIServerCommand,
	"kube-controller-manager": controllermanager.NewControllerManagerCommand,
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kube-proxy":              proxy.NewProxyCommand,
	"kubelet":                 func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
}

func main() {
	name := programName()
	if newCommand, ok := componentCommands[name]; ok {
		os.Exit(cli.Run(newCommand()))
	}
	switch name {
	case "etcd":
		etcdmain.Main(os.Args)
	case "coredns":
		// CoreDNS runs plugins in the order of this list, not of the Corefile.
		dnsserver.Directives = []string{"bind", "errors", "cache", "template", "kubernetes"}
		coremain.Run()
	case "kubectl":
		// kubectl's own main: errors are printed once, in kubectl's words and with its exit codes.
		if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
			kubectlutil.CheckErr(err)
		}
	default:
		fmt.Fprintf(os.Stderr, "%s: call this binary by the name of a component, or give that name as the first argument\n", name)
		os.Exit(2)
	}
}

// programName is the name this binary was called by; called by its own name, it takes the first argument in its place.
func programName() string {
	if name := filepath.Base(os.Args[0]); name != "kubecluster" || len(os.Args) < 2 {
		return name
	}
	os.Args = os.Args[1:]
	return os.Args[0]
}
