// Load generator, single thread epoll. Closed loop (rate 0) or open loop at a constant rate (latency counted from the scheduled time, so no coordinated omission).
// usage: load PORT CONNS SECONDS RATE BODYFILE [PATH] [extra header] [API key]
// prints JSON: rps, latency percentiles (full response), ttfb for streams, per-chunk hop delay if "@T=" stamps are present.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <errno.h>
#include <time.h>
#include <sys/socket.h>
#include <sys/epoll.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
typedef struct {int fd;int busy;long t0;long tfirst;char*buf;int len;int got;int hdr;long clen;int chunked;int scan;} conn;
#define BUF 1048576
static long now(){struct timespec t;clock_gettime(CLOCK_MONOTONIC,&t);return t.tv_sec*1000000000L+t.tv_nsec;}
static char*req;static int reqlen;static int port;static int ep;
typedef struct{unsigned*v;long n,cap;}hist;static hist L,F,H;
static void add(hist*h,long us){if(h->n==h->cap){h->cap=h->cap?h->cap*2:1<<16;h->v=realloc(h->v,h->cap*4);}h->v[h->n++]=us<0?0:us;}
static int cmp(const void*a,const void*b){unsigned x=*(unsigned*)a,y=*(unsigned*)b;return x<y?-1:x>y;}
static void pr(const char*nm,hist*h){if(!h->n)return;qsort(h->v,h->n,4,cmp);double s=0;for(long i=0;i<h->n;i++)s+=h->v[i];printf(",\"%s\":{\"n\":%ld,\"mean\":%.0f,\"p50\":%u,\"p90\":%u,\"p99\":%u,\"p999\":%u,\"max\":%u}",nm,h->n,s/h->n,h->v[h->n/2],h->v[h->n*9/10],h->v[h->n*99/100],h->v[h->n*999/1000],h->v[h->n-1]);}
static void conn_open(conn*c){int on=1;c->fd=socket(AF_INET,SOCK_STREAM,0);struct sockaddr_in a={.sin_family=AF_INET,.sin_port=htons(port)};a.sin_addr.s_addr=htonl(INADDR_LOOPBACK);if(connect(c->fd,(void*)&a,sizeof a)){perror("connect");exit(1);}setsockopt(c->fd,IPPROTO_TCP,TCP_NODELAY,&on,4);struct epoll_event e={.events=EPOLLIN,.data.ptr=c};epoll_ctl(ep,EPOLL_CTL_ADD,c->fd,&e);c->busy=0;c->len=0;}
static long reconns=0,errs=0,non200=0,sent=0,bytes=0,costs=0;
static void fire(conn*c,long t0){c->busy=1;c->t0=t0;c->tfirst=0;c->len=0;c->hdr=0;c->clen=-1;c->chunked=0;c->scan=0;sent++;
  int r=send(c->fd,req,reqlen,MSG_NOSIGNAL);if(r!=reqlen){errs++;close(c->fd);reconns++;conn_open(c);c->busy=0;}}
int main(int ac,char**av){signal(SIGPIPE,SIG_IGN);port=atoi(av[1]);int nc=atoi(av[2]);double secs=atof(av[3]);double rate=atof(av[4]);
  FILE*f=fopen(av[5],"rb");static char body[1<<20];int bl=fread(body,1,sizeof body,f);fclose(f);const char*path=ac>6?av[6]:"/v1/chat/completions";const char*xh=ac>7?av[7]:"";const char*key=ac>8?av[8]:"sk-test-0123456789abcdef";
  req=malloc(bl+4096);reqlen=sprintf(req,"POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nAccept: */*\r\nUser-Agent: load/1\r\n%s%sContent-Length: %d\r\n\r\n",path,port,key,xh,*xh?"\r\n":"",bl);memcpy(req+reqlen,body,bl);reqlen+=bl;
  ep=epoll_create1(0);conn*c=calloc(nc,sizeof *c);for(int i=0;i<nc;i++){c[i].buf=malloc(BUF);conn_open(&c[i]);}
  conn**idle=malloc(nc*sizeof*idle);int ni=0;for(int i=nc-1;i>=0;i--)idle[ni++]=&c[i];
  long start=now(),end=start+(long)(secs*1e9),warm=start+(long)(secs*0.1*1e9);double iv=rate>0?1e9/rate:0;long k=0;long q=0;long done=0,donew=0;
  struct epoll_event E[512];
  // queue of scheduled-but-unsent for open loop handled by k counter
  for(;;){long t=now();if(t>=end)break;
    if(rate>0){while(ni>0){long due=start+(long)(k*iv);if(due>t)break;k++;fire(idle[--ni],due);} }
    else while(ni>0)fire(idle[--ni],now());
    struct timespec ts={0,20000000};if(rate>0&&ni>0){long due=start+(long)(k*iv);long d=due-now();if(d<0)d=0;if(d<ts.tv_nsec)ts.tv_nsec=d;}
    int n=epoll_pwait2(ep,E,512,&ts,0);
    for(int i=0;i<n;i++){conn*x=E[i].data.ptr;int r=recv(x->fd,x->buf+x->len,BUF-1-x->len,0);
      if(r<=0){if(x->busy)errs++;int wb=x->busy;close(x->fd);reconns++;conn_open(x);if(wb)idle[ni++]=x;continue;}
      long tn=now();x->len+=r;bytes+=r;x->buf[x->len]=0;if(!x->busy)continue;
      if(!x->hdr){char*e=memmem(x->buf,x->len,"\r\n\r\n",4);if(!e)continue;x->hdr=e-x->buf+4;if(memcmp(x->buf+9,"200",3))non200++;char sv=*e;*e=0;char*p=strcasestr(x->buf,"content-length:");if(p)x->clen=atol(p+15);x->chunked=strcasestr(x->buf,"transfer-encoding: chunked")!=0;*e=sv;x->scan=x->hdr;}
      if(x->len>x->hdr&&!x->tfirst)x->tfirst=tn;
      if(x->chunked){char*p;while((p=memmem(x->buf+x->scan,x->len-x->scan,"@T=",3))){char*z=memchr(p,';',x->buf+x->len-p);if(!z)break;long ts=atol(p+3);if(tn>warm)add(&H,(tn-ts)/1000);x->scan=z-x->buf;}}
      int fin=0;if(x->clen>=0)fin=x->len>=x->hdr+x->clen;else if(x->chunked)fin=x->len>=5&&!memcmp(x->buf+x->len-5,"0\r\n\r\n",5);
      if(fin){done++;if(done==1&&!memmem(x->buf,x->len,"\"usage\"",7))fprintf(stderr,"note: no usage in the response: %.300s\n",x->buf);if(memmem(x->buf,x->len,"cost_",5))costs++;if(tn>warm){donew++;add(&L,(tn-x->t0)/1000);if(x->chunked)add(&F,(x->tfirst-x->t0)/1000);}x->busy=0;idle[ni++]=x;}
    }}
  (void)q;double el=(now()-warm)/1e9;
  printf("{\"rps\":%.1f,\"done\":%ld,\"costs\":%ld,\"errs\":%ld,\"non200\":%ld,\"reconns\":%ld,\"behind\":%ld",donew/el,done,costs,errs,non200,reconns,rate>0?(long)((now()-start)/iv)-k:0);pr("lat",&L);pr("ttfb",&F);pr("hop",&H);printf("}\n");return 0;}
